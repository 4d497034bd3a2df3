# SPDX-License-Identifier: MIT
#
# Reads MSR, then writes VALUE to it, each N times. RESULTS has, 8 bytes each, what the
# last read gave, the general protection faults of reads, and those of writes. Long mode at
# CPL 0, since both instructions are privileged.

	.include "mode.inc"

	begin
	own_stack
	mov	$fault, %eax
	mov	%ax, GATES + 16 * 13
	mov	%cs, GATES + 16 * 13 + 2
	movw	$0x8e00, GATES + 16 * 13 + 4	# present interrupt gate
	lidt	idt_register
	mov	$N, %ebp
again:
	mov	$MSR, %ecx
	mov	$8, %ebx			# which counter a fault is for
	mov	$0x55555555, %eax
	mov	$0x55555555, %edx
	rdmsr
	mov	%eax, RESULTS
	mov	%edx, RESULTS + 4
	mov	$16, %ebx
	mov	$(VALUE & 0xffffffff), %eax
	mov	$(VALUE >> 32), %edx
	wrmsr
	incl	COUNTS
	dec	%ebp
	jnz	again
	finish

fault:
	incl	RESULTS(%ebx)
	add	$8, %rsp			# the error code
	addq	$2, (%rsp)			# behind the instruction
	iretq

	.align	8
idt_register:
	.word	16 * 32 - 1
	.quad	GATES
