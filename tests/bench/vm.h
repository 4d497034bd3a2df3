/* SPDX-License-Identifier: MIT
 *
 * The least that runs a guest by KVM: one vCPU in flat 32-bit mode, a little RAM
 * with an image in it. It shares no code with the daemon, since it is what the
 * daemon is measured against. Failures end the program with a sentence.
 */
#ifndef BENCH_VM_H
#define BENCH_VM_H

#include <linux/kvm.h>

#define BENCH_GUEST_GPA 0x10000 /* where the image is loaded and entered */

struct bench_vm {
	int vcpu_fd;
	struct kvm_run *run;
};

void bench_vm_open(struct bench_vm *vm, const char *image);
/* From now on the registers come with each exit. */
void bench_vm_want_registers(struct bench_vm *vm);
/* Sets rax by what came, for the next entry. */
void bench_vm_set_rax(struct bench_vm *vm, unsigned long value);
/* Enters the guest until it leaves for an IO port or MMIO. */
void bench_vm_run(struct bench_vm *vm);
/* Where the data of the access that it left for lies; *ret_size bytes. */
unsigned char *bench_vm_data(struct bench_vm *vm, unsigned *ret_size, int *ret_is_write);

#endif
