/* SPDX-License-Identifier: MIT
 *
 * Monitors on the loop. The role itself is monitor_role in session.h.
 */
#ifndef KVMCPUD_MONITOR_H
#define KVMCPUD_MONITOR_H

struct loop;

/* Sends every monitor that can take it what is new in the rings. L only. */
void monitor_pump_all(struct loop *l);

#endif
