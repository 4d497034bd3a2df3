/* SPDX-License-Identifier: MIT
 *
 * What the guest sees with CPUID: all that KVM supports, with the vCPU's own
 * APIC id in it.
 */
#ifndef KVMCPUD_X86_CPUID_H
#define KVMCPUD_X86_CPUID_H

#include <stdint.h>

/* 0, or -1 with errno set. */
int x86_cpuid_set(int kvm_fd, int vcpu_fd, uint32_t index, uint32_t n_vcpus);

#endif
