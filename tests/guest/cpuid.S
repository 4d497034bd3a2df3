# SPDX-License-Identifier: MIT
#
# Each vCPU writes what CPUID tells it: to PORT + 4 * index, for each leaf and
# subleaf in the table, eax, ebx, ecx and edx.

	.include "mode.inc"

	begin
	own_stack
	mov	%edi, %r8d
	mov	$leaves, %ebp
next:
	mov	(%rbp), %eax
	mov	4(%rbp), %ecx
	cpuid
	mov	%edx, %esi
	lea	PORT(, %r8, 4), %edx
	outl	%eax, %dx
	mov	%ebx, %eax
	outl	%eax, %dx
	mov	%ecx, %eax
	outl	%eax, %dx
	mov	%esi, %eax
	outl	%eax, %dx
	add	$8, %ebp
	cmp	$leaves_end, %ebp
	jne	next
	finish

	.align	8
leaves:
	.long	0, 0, 1, 0, 0xb, 0, 0xb, 1, 0xb, 2, 0x80000008, 0
leaves_end:
