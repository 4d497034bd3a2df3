/* SPDX-License-Identifier: MIT
 *
 * A value's bucket is its position of the highest bit and the four bits behind
 * it. Values below 16 have a bucket each.
 */
#include "config.h"

#include "hist.h"

#define SUB (1u << HIST_SUB_BITS)

static unsigned bucket_of(uint64_t value)
{
	if (value < SUB)
		return (unsigned)value;
	unsigned shift = 63 - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
	unsigned b = ((shift + 1) << HIST_SUB_BITS) + (unsigned)((value >> shift) & (SUB - 1));
	return b < HIST_BUCKETS ? b : HIST_BUCKETS - 1;
}

/* The largest value that falls into bucket b. */
static uint64_t bucket_top(unsigned b)
{
	if (b < SUB)
		return b;
	unsigned shift = (b >> HIST_SUB_BITS) - 1;
	return ((uint64_t)(SUB + (b & (SUB - 1)) + 1) << shift) - 1;
}

#define ADD(field, n)                                                                     \
	atomic_store_explicit(&(field),                                                   \
			      atomic_load_explicit(&(field), memory_order_relaxed) + (n), \
			      memory_order_relaxed)

static void raise_to(_Atomic uint64_t *field, uint64_t value)
{
	uint64_t seen = atomic_load_explicit(field, memory_order_relaxed);

	while (seen < value && !atomic_compare_exchange_weak_explicit(
				   field, &seen, value, memory_order_relaxed, memory_order_relaxed))
		;
}

void hist_add(struct hist *h, uint64_t value)
{
	ADD(h->count, 1);
	ADD(h->sum, value);
	ADD(h->buckets[bucket_of(value)], 1);
	raise_to(&h->min_inverted, ~value);
	raise_to(&h->max, value);
}

void hist_add_shared(struct hist *h, uint64_t value)
{
	atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->buckets[bucket_of(value)], 1, memory_order_relaxed);
	raise_to(&h->min_inverted, ~value);
	raise_to(&h->max, value);
}

/* The top of the bucket in which the value of this rank (from 1) lies. */
static uint64_t value_at(const struct hist *h, uint64_t rank, uint64_t max)
{
	uint64_t below = 0;

	for (unsigned b = 0; b < HIST_BUCKETS - 1; b++) {
		below += atomic_load_explicit(&h->buckets[b], memory_order_relaxed);
		if (below >= rank)
			return bucket_top(b) < max ? bucket_top(b) : max;
	}
	return max;
}

static uint64_t rank_of(uint64_t count, unsigned percent)
{
	uint64_t rank = count / 100 * percent + (count % 100 * percent + 99) / 100;

	return rank ? rank : 1;
}

void hist_summary(const struct hist *h, struct kvmcpu_histogram *ret)
{
	uint64_t count = atomic_load_explicit(&h->count, memory_order_relaxed);

	*ret = (struct kvmcpu_histogram){.count = count};
	if (count == 0)
		return;
	ret->sum_ns = atomic_load_explicit(&h->sum, memory_order_relaxed);
	ret->min_ns = ~atomic_load_explicit(&h->min_inverted, memory_order_relaxed);
	ret->max_ns = atomic_load_explicit(&h->max, memory_order_relaxed);
	ret->p50_ns = value_at(h, rank_of(count, 50), ret->max_ns);
	ret->p90_ns = value_at(h, rank_of(count, 90), ret->max_ns);
	ret->p99_ns = value_at(h, rank_of(count, 99), ret->max_ns);
}
