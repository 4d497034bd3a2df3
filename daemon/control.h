/* SPDX-License-Identifier: MIT
 *
 * Requests on the loop. The role itself is control_role in session.h.
 */
#ifndef KVMCPUD_CONTROL_H
#define KVMCPUD_CONTROL_H

struct loop;

/* Answers requests that wait for vCPUs to pause, where they have. L only. */
void control_check_pauses(struct loop *l);

#endif
