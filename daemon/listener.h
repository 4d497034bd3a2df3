/* SPDX-License-Identifier: MIT
 *
 * One listening socket. The socket that a peer could open is the role that it
 * has.
 */
#ifndef KVMCPUD_LISTENER_H
#define KVMCPUD_LISTENER_H

#include "loop.h"

/* Listens at directory/ROLE.sock. NULL with fault set. */
struct listener *listener_new(struct loop *l, enum kvmcpu_role role, const char *directory,
			      struct fault *f);
/* Removes the socket file as well. NULL is fine. */
void listener_free(struct listener *li);

#endif
