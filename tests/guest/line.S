# SPDX-License-Identifier: MIT
#
# Makes line 4 of the first interrupt controller level-triggered, so that its
# request register shows the line as it is, and writes that register to PORT for
# ever. With EDGE, lines stay edge-triggered, and what is written says whether there
# was an edge since the last time: 4 in its low bits, or 7 if not. Interrupts stay off.

	.include "mode.inc"

	begin
	.ifdef EDGE
	.set	NEXT, 0x0c		# OCW3: the next read polls, and acknowledges
	xor	%eax, %eax
	outb	%al, $0x21		# none is masked
	.else
	.set	NEXT, 0x0a		# OCW3: the next read gives the request register
	mov	$0x4d0, %edx		# edge or level, one bit for each line
	mov	$0x10, %al
	outb	%al, %dx
	.endif
1:	mov	$NEXT, %al
	outb	%al, $0x20
	inb	$0x20, %al
	mov	$PORT, %edx
	outb	%al, %dx
	jmp	1b
