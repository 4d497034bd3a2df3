# SPDX-License-Identifier: MIT
#
# Every vCPU does N accesses of KIND at its own address PORT + STRIDE * index
# (0: all at PORT) and counts in COUNTS what it has done, behind each access.
# N = 0 goes on until STOP is set. Writes carry 1, 2, 3 ...; reads add up in
# SUMS. KIND: 0 outl, 1 inl, 2 mmio write, 3 mmio read, of 4 bytes each. TIMED, if
# there: RESULTS has the low half of the time stamp counter at the beginning and
# at the end, per vCPU 8 bytes.

	.include "mode.inc"
	.ifndef STRIDE
	.set	STRIDE, 0
	.endif

	.macro	stamp at
	.ifdef TIMED
	mov	%edx, %ebx
	rdtsc
	mov	%eax, RESULTS + \at(, %edi, 8)
	mov	%ebx, %edx
	.endif
	.endm

	begin
	imul	$STRIDE, %edi, %edx
	add	$PORT, %edx
	xor	%ecx, %ecx
	stamp	0
1:	inc	%ecx
	mov	%ecx, %eax
.if KIND == 0
	outl	%eax, %dx
.elseif KIND == 1
	inl	%dx, %eax
	add	%eax, SUMS(, %edi, 8)
.elseif KIND == 2
	mov	%eax, (%edx)
.else
	mov	(%edx), %eax
	add	%eax, SUMS(, %edi, 8)
.endif
	incl	COUNTS(, %edi, 8)
.if N == 0
	cmpl	$0, STOP
	je	1b
.else
	cmp	$N, %ecx
	jne	1b
.endif
	stamp	4
	finish
