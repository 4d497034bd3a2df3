/* SPDX-License-Identifier: MIT
 *
 * An ELF with a PVH entry, such as Linux's vmlinux (Xen's docs/misc/pvh.pandoc and
 * public header hvm/start_info.h).
 */
#ifndef KVMCPUD_X86_PVH_H
#define KVMCPUD_X86_PVH_H

#include "fault.h"

struct elf;
struct kernel;
struct x86_start;

int pvh_load(struct kernel *k, const struct elf *e, struct x86_start *ret, struct fault *f);

#endif
