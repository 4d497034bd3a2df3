# SPDX-License-Identifier: MIT
#
# Writes COUNT elements of SIZE bytes from SOURCE to PORT by one rep outs, then
# reads as many from PORT to TARGET by one rep ins.

	.include "mode.inc"

	begin
	cld
	mov	$PORT, %edx
	mov	$SOURCE, %esi
	mov	$COUNT, %ecx
.if SIZE == 1
	rep outsb
.elseif SIZE == 2
	rep outsw
.else
	rep outsl
.endif
	mov	$COUNT, %ecx
.if MODE == 0
	mov	$TARGET >> 4, %ax
	mov	%ax, %es
	xor	%edi, %edi
.else
	mov	$TARGET, %edi
.endif
.if SIZE == 1
	rep insb
.elseif SIZE == 2
	rep insw
.else
	rep insl
.endif
	movl	$1, COUNTS
	finish
