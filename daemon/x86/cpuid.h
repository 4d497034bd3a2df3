/* SPDX-License-Identifier: MIT
 *
 * What the guest sees with CPUID: all that KVM supports here, as one package of
 * single-thread cores.
 */
#ifndef KVMCPUD_X86_CPUID_H
#define KVMCPUD_X86_CPUID_H

#include <stdbool.h>
#include <stdint.h>

struct x86_cpuid {
	int kvm_fd;
	uint32_t index, n_vcpus; /* the index is the APIC id */
	bool x2apic;		 /* both only with local APICs in the kernel */
	bool tsc_deadline;
};

/* 0, or -1 with errno set. */
int x86_cpuid_set(const struct x86_cpuid *c, int vcpu_fd);

/* What a guest may set in XCR0, 0 if it has none or that cannot be told. */
uint64_t x86_cpuid_xcr0(int kvm_fd);

#endif
