/* SPDX-License-Identifier: MIT
 *
 * The daemon's end of a device connection. Behind Hello it belongs to the vCPU
 * threads: they write Exit and read ExitReply on the socket themselves, one
 * exchange at a time. L only watches for the peer's end.
 *
 * vCPUs that share a channel take turns, first come first served. A vCPU that
 * waits for its turn, or for a reply, waits in vcpu_wait(), so that a kick ends
 * every wait alike.
 */
#ifndef KVMCPUD_CHANNEL_H
#define KVMCPUD_CHANNEL_H

#include <pthread.h>
#include <stdatomic.h>

#include "codec.h"
#include "frame.h"
#include "look.h"
#include "types.h"

struct vcpu;

struct channel {
	uint32_t client_id;		  /* const */
	char client[KVMCPU_MAX_NAME + 1]; /* const */
	int fd;				  /* const; owned; non-blocking */
	uint32_t refs;			  /* L only */
	_Atomic bool dead;		  /* set once, by whoever notices first */
	_Atomic uint64_t served;

	pthread_mutex_t turn_lock;		 /* held for a few instructions */
	struct vcpu *holder;			 /* turn_lock */
	struct vcpu *first_waiter, *last_waiter; /* turn_lock; through vcpu.next_waiter */

	/* The holder's. */
	struct look look; /* for replies */
	bool abandoned;	  /* the VM ends within an exchange: the next holders wait for their end */
	size_t rx_used;
	uint8_t rx[FRAME_HEADER_MAX + KVMCPU_DEVICE_FRAME_MAX];
	struct codec_arena arena;
	_Alignas(16) uint8_t arena_block[KVMCPU_DEVICE_FRAME_MAX + 32768];
	char fault[300]; /* why it was cut off; set before dead */
};

/* Takes over fd. NULL if there is no memory; fd is NOT consumed then. */
struct channel *channel_new(int fd, uint32_t client_id, const char *client);
void channel_ref(struct channel *ch);
/* L only; closes the descriptor with the last reference. */
void channel_unref(struct channel *ch);

/* Ends the channel: no further exit goes out on it. text, if not NULL, is sent to
 * the peer as a Notice, and of a PROTOCOL one kept for the log. Any thread. */
void channel_fail(struct channel *ch, enum kvmcpu_notice code, const char *text);

/* V only. Offers the packed exit (size bytes at frame, with room for its header
 * before it: FRAME_HEADER_MAX bytes) and takes the reply, which stays valid
 * until channel_done(). Returns 0 with the turn held; -ENOTCONN if the client
 * is gone or was cut off: the exit is still to be answered; -ECANCELED if the
 * vCPU must end. In the last two cases the turn is not held. *ret_sent_ns says
 * when the exit went out. *ret_bytes and *ret_size are the packed reply. */
int channel_call(struct channel *ch, struct vcpu *v, const struct kvmcpu_exit *x, uint8_t *frame,
		 size_t size, struct kvmcpu_reply *ret, const uint8_t **ret_bytes, size_t *ret_size,
		 uint64_t *ret_sent_ns);
void channel_done(struct channel *ch);

#endif
