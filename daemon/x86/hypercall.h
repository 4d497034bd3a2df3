/* SPDX-License-Identifier: MIT
 *
 * Hypercalls: a call that the guest makes on purpose, with a number and six
 * arguments in registers and a result in one. KVM answers its own instruction for
 * that by itself, nearly always, so a write to an agreed place stands for it: --hypercall
 * says which. Whatever the way, it is one kind of exit.
 */
#ifndef KVMCPUD_X86_HYPERCALL_H
#define KVMCPUD_X86_HYPERCALL_H

#include "fault.h"
#include "types.h"

struct exit_type;
struct vcpu;
struct vm;

/* Main thread, once, when guest memory is laid out and KVM's VM is still to be made: whether
 * KVM can do what --hypercall asks for. It may fork for a moment. -1 with fault set. */
int x86_hypercall_check(struct vm *vm, struct fault *f);
/* L, before vCPUs are made, at each start of the VM. -1 with fault set. */
int x86_hypercall_enable(const struct vm *vm, struct fault *f);

/* V only. If the access x, just decoded, is a hypercall, makes x one and returns the
 * way in which it is finished; else returns type. It is one only while somebody
 * claims hypercalls of this vCPU. */
const struct exit_type *x86_hypercall_take(struct vcpu *v, const struct exit_type *type,
					   struct kvmcpu_exit *x);

#endif
