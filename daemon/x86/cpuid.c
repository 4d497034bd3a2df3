/* SPDX-License-Identifier: MIT
 *
 * KVM_GET_SUPPORTED_CPUID describes the host CPU that it ran on; the APIC ids
 * in it (leaves 1, 0xb and 0x1f, SDM volume 2, CPUID) must become the vCPU's.
 */
#include "config.h"

#include "cpuid.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <linux/kvm.h>

#define MAX_ENTRIES 256 /* KVM's own limit, KVM_MAX_CPUID_ENTRIES */

static void set_apic_id(struct kvm_cpuid_entry2 *e, uint32_t index, uint32_t n_vcpus)
{
	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0xffff) | index << 24 | n_vcpus << 16;
		break;
	case 0xb:
	case 0x1f:
		e->edx = index;
		break;
	}
}

int x86_cpuid_set(int kvm_fd, int vcpu_fd, uint32_t index, uint32_t n_vcpus)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + MAX_ENTRIES * sizeof(c->entries[0]));
	int r;

	if (c == NULL)
		return -1;
	c->nent = MAX_ENTRIES;
	r = ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, c);
	for (uint32_t i = 0; r == 0 && i < c->nent; i++)
		set_apic_id(&c->entries[i], index, n_vcpus);
	if (r == 0)
		r = ioctl(vcpu_fd, KVM_SET_CPUID2, c);
	free(c);
	return r;
}
