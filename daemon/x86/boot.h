/* SPDX-License-Identifier: MIT
 *
 * How a vCPU looks before its first instruction: CPUID, and registers for the
 * mode that it starts in.
 */
#ifndef KVMCPUD_X86_BOOT_H
#define KVMCPUD_X86_BOOT_H

#include "fault.h"
#include "types.h"

struct vm;

/* Protected and long mode take a GDT and page tables from this RAM, which no
 * image may touch then. */
#define X86_BOOT_AREA 0x1000ull
#define X86_BOOT_AREA_END 0x8000ull

/* Writes the GDT and page tables that the mode needs, once for the VM. */
int x86_boot_prepare(struct vm *vm, struct fault *f);
/* KVM_SET_CPUID2, and the registers: rip at the entry, rdi the vCPU's index,
 * rsi the number of vCPUs, the other general registers 0, interrupts off.
 * Without an entry, the reset state. */
int x86_boot_vcpu(const struct vm *vm, int vcpu_fd, uint32_t index, struct fault *f);

#endif
