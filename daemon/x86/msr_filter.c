/* SPDX-License-Identifier: MIT
 *
 * KVM_X86_SET_MSR_FILTER takes a few ranges with a bit for each MSR: what is denied
 * comes out as an exit, with the reason FILTER. It is one filter for all vCPUs, so where only
 * some vCPUs' accesses are claimed, the others' are unclaimed ones.
 *
 * Ranges are laid from the lowest claimed MSR on, each as long as KVM allows, with the
 * unclaimed in between left to KVM. A range for the hypercall's MSR stands before them, since
 * KVM goes by the first that fits: writes to it are calls, reads are not.
 *
 * The last MSR of all, 0xffffffff, cannot be in a range, since KVM keeps the end of each in
 * 32 bits. KVM does not know that MSR, so it comes out without the filter, as UNKNOWN.
 */
#include "config.h"

#include "msr_filter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/kvm.h>

#include "claim.h"
#include "vm.h"

#define RANGE_MSRS (KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8)

struct filter {
	struct kvm_msr_filter kvm;
	unsigned n;
	uint8_t bits[KVM_MSR_FILTER_MAX_RANGES][KVM_MSR_FILTER_MAX_BITMAP_SIZE];
};

static struct kvm_msr_filter_range *add_range(struct filter *f, uint64_t first, uint64_t n,
					      uint32_t flags)
{
	struct kvm_msr_filter_range *range = &f->kvm.ranges[f->n];

	memset(f->bits[f->n], 0xff, sizeof(f->bits[f->n]));
	*range = (struct kvm_msr_filter_range){
	    .flags = flags,
	    .nmsrs = (uint32_t)n,
	    .base = (uint32_t)first,
	    .bitmap = f->bits[f->n++],
	};
	return range;
}

static void deny(struct kvm_msr_filter_range *range, uint64_t first, uint64_t last)
{
	for (uint64_t i = first - range->base; i <= last - range->base; i++)
		range->bitmap[i / 8] &= (uint8_t) ~(1u << (i % 8));
}

/* The first claimed MSR from first on, or UINT64_MAX. */
static uint64_t next_claimed(const struct claim_table *t, uint64_t first)
{
	uint64_t found = UINT64_MAX;

	for (size_t i = 0; i < claim_table_count(t); i++) {
		const struct claim *c = claim_table_at(t, i);
		uint64_t at = c->first > first ? c->first : first;
		if (c->space == KVMCPU_SPACE_MSR && c->last >= first && at < found)
			found = at;
	}
	return found;
}

static void deny_claimed(struct kvm_msr_filter_range *range, const struct claim_table *t)
{
	uint64_t base = range->base, end = base + range->nmsrs - 1;

	for (size_t i = 0; i < claim_table_count(t); i++) {
		const struct claim *c = claim_table_at(t, i);
		if (c->space == KVMCPU_SPACE_MSR && c->first <= end && c->last >= base)
			deny(range, c->first > base ? c->first : base,
			     c->last < end ? c->last : end);
	}
}

static bool claims_space(const struct claim_table *t, enum kvmcpu_space space)
{
	for (size_t i = 0; i < claim_table_count(t); i++)
		if (claim_table_at(t, i)->space == space)
			return true;
	return false;
}

/* -ENOSPC if KVM's filter is too small for it. */
static int build(struct filter *f, const struct vm *vm, const struct claim_table *t)
{
	const struct hypercall_way *way = &vm->options->hypercall;
	const uint32_t both = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
	uint64_t first = 0;

	*f = (struct filter){.kvm.flags = KVM_MSR_FILTER_DEFAULT_ALLOW};
	if (way->kind == KVMCPU_EXIT_MSR && claims_space(t, KVMCPU_SPACE_HYPERCALL))
		deny(add_range(f, way->address, 1, KVM_MSR_FILTER_WRITE), way->address,
		     way->address);
	while ((first = next_claimed(t, first)) < UINT32_MAX) {
		uint64_t n = UINT32_MAX - first;
		if (n > RANGE_MSRS)
			n = RANGE_MSRS;
		if (f->n == KVM_MSR_FILTER_MAX_RANGES)
			return -ENOSPC;
		deny_claimed(add_range(f, first, n, both), t);
		first += n;
	}
	return 0;
}

static const char *missing(const struct vm *vm)
{
	if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_USER_SPACE_MSR) <= 0)
		return "KVM_CAP_X86_USER_SPACE_MSR";
	if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_MSR_FILTER) <= 0)
		return "KVM_CAP_X86_MSR_FILTER";
	return NULL;
}

int x86_msr_filter_check(const struct vm *vm, const struct claim_table *t, struct codec_error *err)
{
	struct filter f;
	uint64_t x2apic = next_claimed(t, X2APIC_FIRST);

	if (next_claimed(t, 0) == UINT64_MAX)
		return 0;
	if (missing(vm) != NULL) {
		snprintf(err->text, sizeof(err->text),
			 "this KVM lacks %s, so MSRs cannot be claimed: use a newer kernel",
			 missing(vm));
		return -EPROTO;
	}
	if (x2apic <= X2APIC_LAST) {
		snprintf(err->text, sizeof(err->text),
			 "KVM keeps msr 0x800-0x8ff, the local APIC's, to itself: claim others");
		return -EPROTO;
	}
	if (build(&f, vm, t) < 0) {
		snprintf(err->text, sizeof(err->text),
			 "with these claims KVM's filter would need more than its %d ranges of %d "
			 "MSRs: claim fewer, or closer together",
			 KVM_MSR_FILTER_MAX_RANGES, RANGE_MSRS);
		return -ENOSPC;
	}
	return 0;
}

int x86_msr_filter_set(const struct vm *vm)
{
	const struct claim_table *t = claims_current(&vm->claims);
	bool claimed = next_claimed(t, 0) != UINT64_MAX;
	struct kvm_enable_cap cap = {
	    .cap = KVM_CAP_X86_USER_SPACE_MSR,
	    .args[0] = KVM_MSR_EXIT_REASON_FILTER | (claimed ? KVM_MSR_EXIT_REASON_UNKNOWN : 0),
	};
	struct filter f;
	int r = build(&f, vm, t);

	if (r < 0 || (f.n == 0 && !claimed))
		return r;
	/* Denied without this, an access would be a fault that nobody sees. */
	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0 ||
	    ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &f.kvm) < 0)
		return -errno;
	return 0;
}
