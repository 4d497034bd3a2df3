# SPDX-License-Identifier: MIT
#
# A kernel that tells what it was given. By PORT it writes eax, ebx, esi, cr0, cs
# and ds, each as 32 bits; then, again and again, it reads an address and a number
# of words of 32 bits and writes those words to DATA. The address 0 ends that.
#
# FLAGS are the Multiboot header's, ROOM is how many bytes come behind the code.
# PROTOCOL: 0 Multiboot, 1 PVH and Multiboot, both entered in 32-bit mode, also from
# a file of 64 bits; 2 the 64-bit part of a Linux bzImage, whose header the test
# makes.

	.set	DATA, PORT + 4

.if PROTOCOL < 2
	.code32
	.text
	.align	4
	.long	0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
.else
	.code64
	.text
	.skip	0x200
.endif

.macro tell
	outl	%eax, %dx
.endm

	.globl	_start
_start:
	mov	$PORT, %edx
	tell
	mov	%ebx, %eax
	tell
	mov	%esi, %eax
	tell
.if PROTOCOL < 2
	mov	%cr0, %eax
.else
	mov	%cr0, %rax
.endif
	tell
	mov	%cs, %eax
	tell
	mov	%ds, %eax
	tell
again:
	inl	%dx, %eax
	test	%eax, %eax
	jz	end
	mov	%eax, %esi
	inl	%dx, %eax
	mov	%eax, %ecx
	mov	$DATA, %edx
	cld
	rep outsl
	mov	$PORT, %edx
	jmp	again
end:
	hlt
	jmp	end
	.skip	ROOM

.if PROTOCOL == 1
	.globl	pvh_start
pvh_start:
	mov	$0x707668, %esi		# so that the test sees which entry was taken
	jmp	_start

	.section .note.Xen, "a", @note
	.long	4, 4, 18		# name, value; XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.long	pvh_start
.endif
