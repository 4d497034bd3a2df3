# SPDX-License-Identifier: MIT
#
# Counts interrupts of the clock in long mode at CPL 0: register A gets RATE,
# register B gets ENABLE. Registers C are added up bit by bit: RESULTS + 8 * n
# counts bit n. After COUNT interrupts register B is 2 again, and COUNTS is 1.

	.include "mode.inc"
	.include "pic.inc"

.macro to_clock value, register
	to_port	\register, 0x70
	to_port	\value, 0x71
.endm

	own_stack
	mov	$on_clock, %eax
	mov	$8, %ebx
	call	set_gate
	pic_init 0xfb, 0xfe
	to_clock 0x20 | RATE, 0x0a
	to_clock 0xff, 0x01		# the alarm is at every second
	to_clock 0xff, 0x03
	to_clock 0xff, 0x05
	to_clock 0x02 | ENABLE, 0x0b
	to_port	0x0c, 0x70
	inb	$0x71, %al
1:	sti
	hlt
	jmp	1b

on_clock:
	to_port	0x0c, 0x70
	inb	$0x71, %al
	test	$0x80, %al		# an edge from before register C was read
	jz	4f
	movzbl	%al, %eax
	xor	%ebx, %ebx
2:	shr	$1, %eax
	jnc	3f
	incl	RESULTS(, %rbx, 8)
3:	inc	%ebx
	test	%eax, %eax
	jnz	2b
	incl	SUMS
	cmpl	$COUNT, SUMS
	jb	4f
	to_clock 0x02, 0x0b
	movl	$1, COUNTS
4:	to_port	0x20, 0xa0
	to_port	0x20, 0x20
	iretq

	gate_routine
