/* SPDX-License-Identifier: MIT
 *
 * What this host's KVM does where its answers to KVM_CHECK_EXTENSION do not tell:
 * found out by running a few instructions in a VM that is thrown away.
 */
#ifndef KVMCPUD_X86_PROBE_H
#define KVMCPUD_X86_PROBE_H

/* Whether the guest's kernel mode runs on the processor itself: 1 if so; 0 if KVM
 * leaves it to its instruction emulator, which lacks many instructions; -errno if
 * that cannot be found out. Takes 2 ms, measured on PVM, where it is 0. */
int x86_kernel_mode_is_native(int kvm_fd);

/* Whether KVM stops a guest behind each instruction when it is asked for single steps:
 * 1, 0 if it takes the request and lets the guest run on all the same (QEMU's emulated
 * AMD-V does), or -errno. Takes as long. */
int x86_single_steps_trap(int kvm_fd);

/* Whether KVM hands the processor's own instruction for hypercalls out, as it does for
 * KVM_HC_MAP_GPA_RANGE alone where it does: 1 if so; 0 if it answers by itself; -ETIME
 * if the guest does not come back from it; another -errno if that cannot be found out.
 * L, while no vCPU runs; takes up to a second. */
int x86_hands_out_hypercalls(int kvm_fd);

#endif
