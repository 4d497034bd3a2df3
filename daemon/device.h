/* SPDX-License-Identifier: MIT
 *
 * Device connections on the loop. The role itself is device_role in session.h.
 */
#ifndef KVMCPUD_DEVICE_H
#define KVMCPUD_DEVICE_H

struct loop;

/* For an event on loop.hang_ups. */
void device_hung_up(int fd, short what, void *arg);
/* Ends the sessions of channels that a vCPU thread found dead. L only. */
void device_reap(struct loop *l);
/* Ends all device sessions, whose clients are told that the VM starts again. Their
 * claims stay, absent. When no vCPU thread runs. */
void device_reset_all(struct loop *l);

#endif
