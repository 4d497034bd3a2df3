# SPDX-License-Identifier: MIT
#
# Long mode: puts a number into %rbx and brings about a triple fault.

	.include "mode.inc"

	movabs	$0x1122334455667788, %rbx
	lidt	nothing
	ud2
nothing:
	.word	0
	.quad	0
