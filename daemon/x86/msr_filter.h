/* SPDX-License-Identifier: MIT
 *
 * Which accesses to MSRs leave the guest: those to claimed ones, and those to which
 * KVM has no answer itself.
 */
#ifndef KVMCPUD_X86_MSR_FILTER_H
#define KVMCPUD_X86_MSR_FILTER_H

#include "codec.h"

/* The local APIC's, for which KVM ignores the filter (api.rst, KVM_X86_SET_MSR_FILTER). */
#define X2APIC_FIRST 0x800
#define X2APIC_LAST 0x8ff

struct claim_table;
struct vm;

/* L only. Whether KVM can hand out what t claims: 0; -EPROTO or -ENOSPC with err set. */
int x86_msr_filter_check(const struct vm *vm, const struct claim_table *t, struct codec_error *err);

/* L only. Makes it so for the table in force. vCPUs may run: KVM changes filters as a
 * whole, and an access sees the one before or the one after. 0 or -errno. */
int x86_msr_filter_set(const struct vm *vm);

#endif
