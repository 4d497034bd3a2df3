/* SPDX-License-Identifier: MIT
 *
 * Who answers what. Claims stand in an immutable table, sorted by space and
 * address for each vCPU, that is swapped whole; a vCPU finds its claim without
 * a lock.
 *
 * Only L changes tables. A V that looks into one says so in its claim_hold, and
 * L frees a table, with the claims and channels that only it refers to, when no
 * V holds it any more. So whatever a V found stays valid until claims_release.
 */
#ifndef KVMCPUD_CLAIM_H
#define KVMCPUD_CLAIM_H

#include <stdatomic.h>

#include "codec.h"
#include "hist.h"
#include "types.h"

struct channel;
struct claim_table;

/* Figures of a range; they outlive its owner. Any thread adds and reads. */
struct claim_figures {
	uint32_t refs; /* L only */
	_Atomic uint64_t reads, writes, bus_errors, filled, redelivered, ticks_charged;
	struct hist service;
};

/* One claim in force. Everything but the figures is constant. */
struct claim {
	uint32_t id;
	uint32_t refs; /* L only: tables that list it */
	enum kvmcpu_space space;
	uint64_t first, last;
	enum kvmcpu_absence absence;
	uint64_t fill;
	uint64_t vcpu_mask;
	struct channel *channel; /* a reference; NULL: the owner is absent */
	uint32_t client_id;	 /* the owner's, or the last one's */
	char name[KVMCPU_MAX_NAME + 1];
	char client[KVMCPU_MAX_NAME + 1];
	struct claim_figures *figures; /* a reference */
};

/* A V's declaration of what it looks at; part of struct vcpu. */
struct claim_hold {
	_Atomic(struct claim_table *) table;
};

struct claims {
	_Atomic(struct claim_table *) current;
	/* L only. */
	struct claim_table *retired;
	uint32_t next_id;
	struct claim_hold *holds[KVMCPU_MAX_VCPUS];
	uint32_t n_vcpus;
};

int claims_init(struct claims *c, uint32_t n_vcpus);
void claims_destroy(struct claims *c);

/* V only: the claim that holds address, or NULL. Whatever it returns, the hold
 * stays until claims_release. */
const struct claim *claims_find(struct claims *c, struct claim_hold *hold, uint32_t vcpu,
				enum kvmcpu_space space, uint64_t address);
/* V only: whether there is any claim in this space; the hold stays as well. */
bool claims_any(struct claims *c, struct claim_hold *hold, uint32_t vcpu, enum kvmcpu_space space);
void claims_release(struct claim_hold *hold);

/* L only. Makes the table in which all of a channel's claims are granted:
 * -EEXIST if one overlaps a claim whose owner is connected, -EPROTO if two of
 * the request overlap, both with err naming them; -ENOSPC if there are too many;
 * -ENOMEM. Absent claims that they overlap give way, and their figures go on
 * where the range is the same. vcpu_mask is not 0. Follow it by claims_commit or
 * claims_abandon before anything else is done with c. */
int claims_prepare(struct claims *c, struct channel *ch, uint64_t vcpu_mask,
		   const struct kvmcpu_claim *wanted, size_t n, struct claim_table **ret,
		   struct codec_error *err);
void claims_commit(struct claims *c, struct claim_table *t);
void claims_abandon(struct claims *c, struct claim_table *t);
/* Any thread that holds the claim: nobody can be asked. */
bool claim_is_absent(const struct claim *claim);
/* L only. Turns the claims of a channel that has gone into absent ones. Returns
 * -ENOMEM if that cannot be done now: call again. */
int claims_orphan(struct claims *c, const struct channel *ch);
/* L only. Frees tables that no V holds any more. */
void claims_collect(struct claims *c);

/* L only: all claims, in the order of their ids; of a table that is prepared, and
 * of the one in force. */
size_t claim_table_count(const struct claim_table *t);
const struct claim *claim_table_at(const struct claim_table *t, size_t i);
const struct claim_table *claims_current(const struct claims *c);
size_t claims_count(const struct claims *c);
const struct claim *claims_at(const struct claims *c, size_t i);
void claim_describe(const struct claim *claim, struct kvmcpu_claim_info *ret);

#endif
