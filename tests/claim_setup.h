/* SPDX-License-Identifier: MIT
 *
 * What the tests of the claim table share: the table, a hold for each vCPU as
 * the daemon's vCPUs have them, clients whose sockets are eventfds, and whose an
 * address is.
 */
#ifndef CLAIM_SETUP_H
#define CLAIM_SETUP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "channel.h"
#include "claim.h"

enum { VCPUS = 4, ALL = (1 << VCPUS) - 1 };

static struct claims claims;
static struct claim_hold holds[VCPUS];

static inline int setup(void **state)
{
	if (claims_init(&claims, VCPUS) < 0)
		return -1;
	memset((void *)holds, 0, sizeof(holds));
	for (int i = 0; i < VCPUS; i++)
		claims.holds[i] = &holds[i];
	return 0;
}

static inline int teardown(void **state)
{
	claims_destroy(&claims);
	return 0;
}

static inline struct channel *client(uint32_t id)
{
	char name[16];

	snprintf(name, sizeof(name), "client-%u", id);
	return channel_new(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), id, name);
}

static inline struct kvmcpu_claim range(uint64_t first, uint64_t last)
{
	return (struct kvmcpu_claim){.space = KVMCPU_SPACE_MMIO,
				     .first = first,
				     .last = last,
				     .name = "range",
				     .absence = KVMCPU_ABSENCE_FREEZE};
}

static inline int grant(struct channel *ch, uint64_t mask, const struct kvmcpu_claim *wanted,
			size_t n, struct codec_error *err)
{
	struct claim_table *t;
	int r = claims_prepare(&claims, ch, mask, wanted, n, &t, err);

	if (r == 0)
		claims_commit(&claims, t);
	return r;
}

static inline void go(struct channel *ch)
{
	assert_int_equal(claims_orphan(&claims, ch), 0);
	channel_unref(ch);
}

/* Whose claim holds the address: its client's id, negative if it is absent, 0 if
 * nobody's. */
static inline int owner(uint32_t vcpu, uint64_t address)
{
	const struct claim *c =
	    claims_find(&claims, &holds[vcpu], vcpu, KVMCPU_SPACE_MMIO, address);
	int id = 0;

	if (c != NULL) {
		assert_true(c->first <= address && address <= c->last);
		assert_true(c->vcpu_mask >> vcpu & 1);
		id = claim_is_absent(c) ? -(int)c->client_id : (int)c->client_id;
	}
	claims_release(&holds[vcpu]);
	return id;
}

#endif
