# SPDX-License-Identifier: MIT
#
# Makes line 4 of the first interrupt controller level-triggered, so that its
# request register shows the line as it is, and writes that register to PORT for
# ever. Interrupts stay off.

	.include "mode.inc"

	begin
	mov	$0x4d0, %edx		# edge or level, one bit for each line
	mov	$0x10, %al
	outb	%al, %dx
1:	mov	$0x0a, %al		# OCW3: the next read gives the request register
	outb	%al, $0x20
	inb	$0x20, %al
	mov	$PORT, %edx
	outb	%al, %dx
	jmp	1b
