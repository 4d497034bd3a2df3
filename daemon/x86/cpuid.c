/* SPDX-License-Identifier: MIT
 *
 * KVM_GET_SUPPORTED_CPUID describes the host CPU that it ran on. What it says of
 * APIC ids, of how many threads and cores there are and what caches they share must
 * become the VM's, or a guest with several processors believes that they lie about
 * each other. Leaves: SDM volume 2, CPUID, and AMD's APM volume 3, appendix E.
 */
#include "config.h"

#include "cpuid.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <linux/kvm.h>

#define MAX_ENTRIES 256 /* KVM's own limit, KVM_MAX_CPUID_ENTRIES */

/* The first four letters of the vendor's name: AuthenticAMD, HygonGenuine. */
#define VENDOR_AMD 0x68747541u
#define VENDOR_HYGON 0x6f677948u

#define LEAF_1_ECX_X2APIC (1u << 21)
#define LEAF_1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF_1_ECX_HYPERVISOR (1u << 31)
#define LEAF_1_EDX_HTT (1u << 28)
#define AMD_ECX_CMP_LEGACY (1u << 1)

enum { LEVEL_NONE, LEVEL_THREAD, LEVEL_CORE };

static unsigned apic_id_bits(uint32_t n_vcpus)
{
	unsigned bits = 0;

	while (1u << bits < n_vcpus)
		bits++;
	return bits;
}

static uint32_t set_bits(uint32_t in, unsigned from, unsigned bits, uint32_t value)
{
	uint32_t mask = ((1u << bits) - 1) << from;

	return (in & ~mask) | (value << from & mask);
}

static void set_flag(uint32_t *reg, uint32_t flag, bool on)
{
	*reg = on ? *reg | flag : *reg & ~flag;
}

static void set_features(struct kvm_cpuid_entry2 *e, const struct x86_cpuid *c)
{
	e->ebx = (e->ebx & 0xffff) | c->index << 24 | c->n_vcpus << 16;
	set_flag(&e->ecx, LEAF_1_ECX_HYPERVISOR, true);
	set_flag(&e->ecx, LEAF_1_ECX_X2APIC, c->x2apic);
	set_flag(&e->ecx, LEAF_1_ECX_TSC_DEADLINE, c->tsc_deadline);
	set_flag(&e->edx, LEAF_1_EDX_HTT, c->n_vcpus > 1);
}

/* Leaves 4 and 0x8000001d: the first two levels of caches belong to one core, the
 * others to all. */
static void set_cache(struct kvm_cpuid_entry2 *e, const struct x86_cpuid *c)
{
	unsigned type = e->eax & 0x1f, level = e->eax >> 5 & 7;

	if (type == 0)
		return;
	e->eax = set_bits(e->eax, 14, 12, level >= 3 ? c->n_vcpus - 1 : 0);
	if (e->function == 4)
		e->eax = set_bits(e->eax, 26, 6, (1u << apic_id_bits(c->n_vcpus)) - 1);
}

static void set_entry(struct kvm_cpuid_entry2 *e, const struct x86_cpuid *c, bool is_amd)
{
	switch (e->function) {
	case 1:
		set_features(e, c);
		break;
	case 4:
	case 0x8000001d:
		set_cache(e, c);
		break;
	case 0x80000001: /* the logical processors that leaf 1 counts are cores */
		if (is_amd)
			set_flag(&e->ecx, AMD_ECX_CMP_LEGACY, c->n_vcpus > 1);
		break;
	case 0x80000008:
		if (!is_amd)
			break;
		e->ecx = set_bits(e->ecx, 0, 8, c->n_vcpus - 1);
		e->ecx = set_bits(e->ecx, 12, 4, apic_id_bits(c->n_vcpus));
		break;
	case 0x8000001e:
		e->eax = c->index;
		e->ebx = c->index; /* the core, of one thread */
		e->ecx = 0;	   /* of one node */
		break;
	}
}

static bool is_topology(const struct kvm_cpuid_entry2 *e)
{
	return e->function == 0xb || e->function == 0x1f;
}

/* KVM's own subleaves of a topology leaf are the host's, or none, as its version has
 * it, so they are made anew: the threads of a core (one), the cores, the end. */
static void add_topology(struct kvm_cpuid2 *all, uint32_t leaf, const struct x86_cpuid *c)
{
	const struct kvm_cpuid_entry2 levels[] = {
	    {.eax = 0, .ebx = 1, .ecx = LEVEL_THREAD << 8},
	    {.eax = apic_id_bits(c->n_vcpus), .ebx = c->n_vcpus, .ecx = LEVEL_CORE << 8 | 1},
	    {.ecx = LEVEL_NONE << 8 | 2},
	};

	for (uint32_t i = 0; i < 3 && all->nent < MAX_ENTRIES; i++) {
		struct kvm_cpuid_entry2 *e = &all->entries[all->nent++];
		*e = levels[i];
		e->function = leaf;
		e->index = i;
		e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		e->edx = c->index;
	}
}

static void adapt(struct kvm_cpuid2 *all, const struct x86_cpuid *c)
{
	uint32_t n = 0, max_leaf = 0;
	bool is_amd = false;

	for (uint32_t i = 0; i < all->nent; i++) {
		struct kvm_cpuid_entry2 *e = &all->entries[i];
		if (e->function == 0) {
			max_leaf = e->eax;
			is_amd = e->ebx == VENDOR_AMD || e->ebx == VENDOR_HYGON;
		}
		if (!is_topology(e))
			all->entries[n++] = *e;
	}
	all->nent = n;
	for (uint32_t i = 0; i < n; i++)
		set_entry(&all->entries[i], c, is_amd);
	if (max_leaf >= 0xb)
		add_topology(all, 0xb, c);
	if (max_leaf >= 0x1f)
		add_topology(all, 0x1f, c);
}

/* All that KVM supports, to be freed; NULL with errno set. */
static struct kvm_cpuid2 *get_supported(int kvm_fd)
{
	struct kvm_cpuid2 *all = calloc(1, sizeof(*all) + MAX_ENTRIES * sizeof(all->entries[0]));

	if (all == NULL)
		return NULL;
	all->nent = MAX_ENTRIES;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, all) == 0)
		return all;
	free(all);
	return NULL;
}

int x86_cpuid_set(const struct x86_cpuid *c, int vcpu_fd)
{
	struct kvm_cpuid2 *all = get_supported(c->kvm_fd);
	int r;

	if (all == NULL)
		return -1;
	adapt(all, c);
	r = ioctl(vcpu_fd, KVM_SET_CPUID2, all);
	free(all);
	return r;
}

uint64_t x86_cpuid_xcr0(int kvm_fd)
{
	struct kvm_cpuid2 *all = get_supported(kvm_fd);
	uint64_t features = 0;

	for (uint32_t i = 0; all != NULL && i < all->nent; i++)
		if (all->entries[i].function == 0xd && all->entries[i].index == 0)
			features = (uint64_t)all->entries[i].edx << 32 | all->entries[i].eax;
	free(all);
	return features;
}
