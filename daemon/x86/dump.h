/* SPDX-License-Identifier: MIT
 *
 * Everything that KVM tells about a vCPU, as named registers in groups.
 */
#ifndef KVMCPUD_X86_DUMP_H
#define KVMCPUD_X86_DUMP_H

#include "types.h"

struct vcpu;
struct x86_dump;

/* V only. What KVM refuses becomes the group's error. NULL if there is no
 * memory. cause is copied. */
struct x86_dump *x86_dump_take(struct vcpu *v, const char *cause);
/* Borrowed; lives as long as d. */
const struct kvmcpu_dump *x86_dump_get(const struct x86_dump *d);
void x86_dump_free(struct x86_dump *d);

/* Some twenty lines, with what fits a line. */
void x86_dump_log(const struct kvmcpu_dump *dump);

#endif
