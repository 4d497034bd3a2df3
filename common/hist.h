/* SPDX-License-Identifier: MIT
 *
 * A histogram of 64-bit values with buckets at most 1/16 of their value wide
 * (HdrHistogram's idea): a fixed array, constant time, no configuration.
 *
 * One thread adds, or several through hist_add_shared(); any thread reads.
 */
#ifndef KVMCPU_HIST_H
#define KVMCPU_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#include "types.h"

#define HIST_SUB_BITS 4	 /* 16 buckets for each power of two */
#define HIST_MAX_BITS 37 /* the last bucket takes 2^37 ns (137 s) and more */
#define HIST_BUCKETS (((HIST_MAX_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS) + 1)

struct hist {
	_Atomic uint64_t count, sum, min_inverted, max; /* ~min, so that 0 is a fresh start */
	_Atomic uint32_t buckets[HIST_BUCKETS];
};

/* All zero is an empty histogram. */
void hist_add(struct hist *h, uint64_t value);
void hist_add_shared(struct hist *h, uint64_t value);
/* Figures that may miss values added meanwhile. */
void hist_summary(const struct hist *h, struct kvmcpu_histogram *ret);

#endif
