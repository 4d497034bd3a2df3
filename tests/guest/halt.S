# SPDX-License-Identifier: MIT
#
# Long mode, CPL 0, without an interrupt controller: halts again and again with
# interrupts enabled. COUNTS counts how often it went on behind its HLT, SUMS
# the interrupts of VECTOR in its low half and the NMIs in its high half. RESULTS says
# that it is ready for both.

	.include "mode.inc"

	own_stack
	mov	$on_vector, %eax
	mov	$GATES + 16 * VECTOR, %ebx
	call	set_gate
	mov	$on_nmi, %eax
	mov	$GATES + 16 * 2, %ebx
	call	set_gate
	lidt	idt_register
	movb	$1, RESULTS
	sti
1:	hlt
	incl	COUNTS(, %edi, 8)
	jmp	1b

# %eax: handler, %ebx: where its gate goes.
set_gate:
	mov	%ax, (%rbx)
	movw	$0x08, 2(%rbx)
	movw	$0x8e00, 4(%rbx)	# present, interrupt gate
	shr	$16, %eax
	mov	%ax, 6(%rbx)
	ret

on_vector:
	incl	SUMS(, %edi, 8)
	iretq
on_nmi:
	incl	SUMS + 4(, %edi, 8)
	iretq

	.align	8
idt_register:
	.word	16 * 256 - 1
	.quad	GATES
