/* SPDX-License-Identifier: MIT
 *
 * How a vCPU looks before its first instruction: CPUID, and registers for the
 * mode that it starts in.
 */
#ifndef KVMCPUD_X86_BOOT_H
#define KVMCPUD_X86_BOOT_H

#include "fault.h"
#include "options.h"
#include "types.h"

struct vm;

#define X86_CR0_PE 1ull
#define X86_CR0_ET (1ull << 4)
#define X86_CR0_NE (1ull << 5)
#define X86_CR0_FLAT (X86_CR0_PE | X86_CR0_ET | X86_CR0_NE)

/* Where --entry starts; a kernel's protocol may want others. */
#define X86_CODE_SELECTOR 0x08
#define X86_DATA_SELECTOR 0x10

/* How vCPUs start: what --entry and --mode say, or a kernel's boot protocol. */
struct x86_start {
	enum boot_mode mode;
	kvmcpu_gpa_t entry;
	/* The rest is for protected and long mode, but for the registers. */
	uint16_t code_selector, data_selector; /* 0x08 to 0x18 */
	uint64_t cr0;			       /* without PG, which long mode adds */
	uint64_t rax, rbx, rsi;		       /* the other general registers are 0 */
	/* All vCPUs start so, with their index in rdi; else the first, and the others are
	 * as KVM made them: with local APICs they wait for INIT and SIPI. */
	bool all;
};

/* Decides how vCPUs start, loads a kernel if there is one, and writes the GDT and page
 * tables that the mode needs, all once for the VM. */
int x86_boot_prepare(struct vm *vm, struct fault *f);
/* KVM_SET_CPUID2, and the registers as vm->start says, with interrupts off. In
 * BOOT_RESET, the reset state. */
int x86_boot_vcpu(const struct vm *vm, int vcpu_fd, uint32_t index, struct fault *f);

#endif
