# SPDX-License-Identifier: MIT
#
# Counts in COUNTS and makes no exit at all until STOP is set: only a timer or a
# kick ends that.

	.include "mode.inc"

	begin
1:	incq	COUNTS(, %edi, 8)
	cmpl	$0, STOP
	je	1b
	finish
