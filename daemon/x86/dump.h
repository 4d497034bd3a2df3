/* SPDX-License-Identifier: MIT
 *
 * Everything that KVM tells about a vCPU, as named registers in groups.
 */
#ifndef KVMCPUD_X86_DUMP_H
#define KVMCPUD_X86_DUMP_H

#include <stdbool.h>

#include "types.h"

struct vcpu;
struct x86_dump;

/* V only. What KVM refuses becomes the group's error. NULL if there is no
 * memory. cause is copied. */
struct x86_dump *x86_dump_take(struct vcpu *v, const char *cause);
/* Borrowed; lives as long as d. */
const struct kvmcpu_dump *x86_dump_get(const struct x86_dump *d);
void x86_dump_free(struct x86_dump *d);

/* V only. Whether the registers are those after INIT. KVM's AMD half resets a vCPU
 * that shuts down before it says so: its control block is undefined then (kernel's
 * svm.c). */
bool x86_is_reset(const struct vcpu *v);

/* Some twenty lines, with what fits a line. */
void x86_dump_log(const struct kvmcpu_dump *dump);

#endif
