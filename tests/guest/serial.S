# SPDX-License-Identifier: MIT
#
# Drives COM1, in long mode at CPL 0. KIND says how:
#	0	sends COUNT bytes by the transmitter's interrupt, one for each
#	1	receives COUNT bytes by the receiver's interrupt into INPUT
#	2	sends COUNT bytes by polling, sixteen for each look at LSR
#	3	sends COUNT bytes from INPUT by one rep outsb
#	4	as 2, and then resets the machine; the divisor must be fresh
#	5	sends for ever by the transmitter's interrupt, and receives as 1 does
# The n-th byte sent is the low byte of n + (n >> 8). COUNTS says how many are
# through, SUMS how many interrupts came, RESULTS (1) that it has begun.

	.include "mode.inc"
	.include "pic.inc"

	.set	INPUT, 0x100000
	.set	COM, 0x3f8

.macro to_com value, register
	mov	$\value, %al
	mov	$COM + \register, %edx
	outb	%al, %dx
.endm
.macro from_com register
	mov	$COM + \register, %edx
	inb	%dx, %al
.endm

	own_stack
	mov	$on_serial, %eax
	mov	$4, %ebx
	call	set_gate
	pic_init 0xef, 0xff
	to_com	0x03, 3			# eight bits
	to_com	0xc1, 2			# FIFOs, trigger at fourteen
	to_com	0x08, 4			# OUT2
	xor	%ebp, %ebp		# bytes through
	movb	$1, RESULTS
.if KIND == 0
	to_com	0x02, 1
.elseif KIND == 1
	to_com	0x01, 1
.elseif KIND == 5
	xor	%r8d, %r8d
	to_com	0x03, 1
.elseif KIND == 2 || KIND == 4
.if KIND == 4
	to_com	0x83, 3			# DLAB
	from_com 0
	cmp	$12, %al
	jne	rest
	to_com	0x01, 0
	to_com	0x03, 3
.endif
1:	from_com 5
	test	$0x20, %al
	jz	1b
	mov	$16, %ecx
2:	call	send
	cmp	$COUNT, %ebp
	jae	rest
	loop	2b
	jmp	1b
.else
	cld
	mov	$INPUT, %esi
	mov	$COUNT, %ecx
	mov	$COM, %edx
	rep outsb
	movl	$COUNT, COUNTS
.endif
rest:
.if KIND == 4
	cmp	$COUNT, %ebp
	jb	2f
	mov	$0xcf9, %edx
	mov	$0x06, %al
	outb	%al, %dx
2:
.endif
	sti
	hlt
	jmp	rest

send:
	mov	%ebp, %eax
	shr	$8, %eax
	add	%ebp, %eax
	mov	$COM, %edx
	outb	%al, %dx
	inc	%ebp
	mov	%ebp, COUNTS
	ret

# The 8259 takes edges: it stays until no source is left.
on_serial:
	incl	SUMS
1:	from_com 2
	test	$1, %al
	jnz	3f
.if KIND == 0
	cmp	$COUNT, %ebp
	jae	2f
	call	send
	jmp	1b
2:	to_com	0x00, 1
.elseif KIND == 5
	from_com 5
	mov	%al, %r9b
	test	$1, %al
	jz	2f
	from_com 0
	mov	%al, INPUT(%r8)
	inc	%r8d
2:	test	$0x20, %r9b
	jz	1b
	call	send
.elseif KIND == 1
2:	from_com 5
	test	$1, %al
	jz	1b
	from_com 0
	mov	%al, INPUT(%rbp)
	inc	%ebp
	mov	%ebp, COUNTS
	jmp	2b
.endif
	jmp	1b
3:	to_port	0x20, 0x20
	iretq

	gate_routine
