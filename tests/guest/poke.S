# SPDX-License-Identifier: MIT
#
# Writes VALUE to PORT by SIZE bytes, then reads as many from there to RESULTS.

	.include "mode.inc"

	begin
	mov	$PORT, %edx
	mov	$VALUE, %eax
	incl	COUNTS
.if SIZE == 1
	outb	%al, %dx
	xor	%eax, %eax
	inb	%dx, %al
.elseif SIZE == 2
	outw	%ax, %dx
	xor	%eax, %eax
	inw	%dx, %ax
.else
	outl	%eax, %dx
	inl	%dx, %eax
.endif
	mov	%eax, RESULTS
	incl	COUNTS + 4
	finish
