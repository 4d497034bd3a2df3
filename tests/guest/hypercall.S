# SPDX-License-Identifier: MIT
#
# Makes N hypercalls by way of WAY (0 port, 1 MMIO at DOOR, 2 MSR DOOR, 3 vmcall,
# 4 vmmcall), with known arguments. N = 0 goes on until STOP is set. NUMBER is the first
# call's number, each further one's is one more. RESULTS has what the last call gave, and
# behind it, 8 bytes each, the registers that hold arguments as they were afterwards.

	.include "mode.inc"
	.include "kvmcpu.inc"

.macro keep slot, register
	mov	\register, RESULTS + 8 * \slot
.endm

	begin
	mov	$N, %ebp
	movl	$NUMBER, COUNTS + 8
again:
	mov	COUNTS + 8, %eax
.if MODE >= 2
	movabs	$0x1111111111111111, %rdi
	movabs	$0x2222222222222222, %rsi
	movabs	$0x3333333333333333, %rdx
	movabs	$0x4444444444444444, %r10
	movabs	$0x5555555555555555, %r8
	movabs	$0x6666666666666666, %r9
.else
	mov	$0x11111111, %edi
	mov	$0x22222222, %esi
	mov	$0x33333333, %edx
.endif
.if WAY == 0
	kvmcpu_hypercall
.elseif WAY == 1
	mov	$DOOR, %ebx
	kvmcpu_hypercall_mmio (%ebx)
.elseif WAY == 2
	kvmcpu_hypercall_msr DOOR
.else
	mov	$TARGET, %ebx		# KVM_HC_MAP_GPA_RANGE: address, pages, attributes
	mov	$1, %ecx
	mov	$0, %edx
.if WAY == 3
	kvmcpu_hypercall_vmcall
.else
	kvmcpu_hypercall_vmmcall
.endif
.endif
.if MODE >= 2
	keep	0, %rax
	keep	1, %rdi
	keep	2, %rsi
	keep	3, %rdx
	keep	4, %r10
	keep	5, %r8
	keep	6, %r9
.else
	keep	0, %eax
	keep	1, %edi
	keep	2, %esi
	keep	3, %edx
.endif
	incl	COUNTS
	incl	COUNTS + 8
.if N == 0
	cmpl	$0, STOP
	je	again
.else
	dec	%ebp
	jnz	again
.endif
	finish
