# SPDX-License-Identifier: MIT
#
# One access of every size and direction. Reads each register of PORT (and of
# MMIO) in all sizes, keeps what it got in RESULTS, 8 bytes each, and writes the
# same value back, so that both sides know what the other saw. Real mode reaches
# MMIO through %es = 0xffff, which begins at 0xffff0.

	.include "mode.inc"

.if MODE == 0
	.set	WINDOW, MMIO - 0xffff0
	.macro	mmio_load op, register
	\op	%es:WINDOW, \register
	.endm
	.macro	mmio_store op, register
	\op	\register, %es:WINDOW
	.endm
.else
	.macro	mmio_load op, register
	\op	(%ebx), \register
	.endm
	.macro	mmio_store op, register
	\op	\register, (%ebx)
	.endm
.endif

# Whether anything of the other bytes of the register changed shows in RESULTS.
.macro keep slot
	mov	%eax, RESULTS + 8 * \slot
.endm
.macro fresh
	mov	$0x55555555, %eax
.endm

	begin
	mov	$PORT, %edx
	fresh
	inb	%dx, %al
	keep	0
	outb	%al, %dx
	fresh
	inw	%dx, %ax
	keep	1
	outw	%ax, %dx
	inl	%dx, %eax
	keep	2
	outl	%eax, %dx

.if MODE == 0
	mov	$0xffff, %ax
	mov	%ax, %es
.else
	mov	$MMIO, %ebx
.endif
	fresh
	mmio_load movb, %al
	keep	3
	mmio_store movb, %al
	fresh
	mmio_load movw, %ax
	keep	4
	mmio_store movw, %ax
	mmio_load movl, %eax
	keep	5
	mmio_store movl, %eax
.if MODE >= 2
	mmio_load movq, %rax
	mov	%rax, RESULTS + 8 * 6
	mmio_store movq, %rax
.endif
	movl	$1, COUNTS
	finish
