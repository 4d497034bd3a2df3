/* SPDX-License-Identifier: MIT
 *
 * Plain structures (types.h) to protobuf bytes and back. All validation that
 * needs no knowledge of the VM happens here, on the way in; codec*.c are the
 * only files that know protobuf-c's types.
 *
 * Packing writes into the caller's memory and allocates nothing. Unpacking
 * takes all memory from an arena: what an unpacked structure points to lives
 * until that arena is reset or freed, and never in the packed bytes.
 *
 * Any thread; an arena belongs to one thread at a time. Nothing blocks.
 */
#ifndef KVMCPU_CODEC_H
#define KVMCPU_CODEC_H

#include <stdarg.h>

#include "types.h"

/* Memory handed out from front to back and taken back all at once. */
struct codec_arena {
	uint8_t *base;
	size_t size, used;
	size_t limit;		    /* bytes that chunks may take; 0: base is all there is */
	size_t taken;		    /* bytes in chunks */
	struct codec_chunk *chunks; /* owned */
};

/* An arena over the caller's block: malloc-free, for the exit path. */
void codec_arena_fixed(struct codec_arena *a, void *block, size_t size);
/* One that grows by malloc up to limit bytes; codec_arena_free gives them back. */
void codec_arena_growing(struct codec_arena *a, size_t limit);
/* size bytes aligned for any type, or NULL. */
void *codec_arena_alloc(struct codec_arena *a, size_t size);
/* Takes everything back; a growing arena frees its chunks. */
void codec_arena_reset(struct codec_arena *a);
void codec_arena_free(struct codec_arena *a);

/* Why an unpack failed, one sentence without a final stop, for the peer and the
 * log. */
struct codec_error {
	char text[300];
};

/* Packers return the bytes written, or -ENOSPC if size is too small. */
int codec_pack_exit(const struct kvmcpu_exit *x, uint8_t *buf, size_t size);
int codec_pack_reply(const struct kvmcpu_reply *r, uint8_t *buf, size_t size);
int codec_pack_hello(const struct kvmcpu_hello *h, uint8_t *buf, size_t size);
int codec_pack_hello_reply(const struct kvmcpu_hello_reply *r, uint8_t *buf, size_t size);
int codec_pack_filter(const struct kvmcpu_filter *f, uint8_t *buf, size_t size);
int codec_pack_request(const struct kvmcpu_request *r, uint8_t *buf, size_t size);
int codec_pack_response(const struct kvmcpu_response *r, uint8_t *buf, size_t size);

/* Appends the mark "redelivered" to an Exit packed into buf, of which used of
 * size bytes are in use. Returns the new length, or -ENOSPC. Protobuf fields
 * may come in any order, so the packed bytes before it stay as they are. */
int codec_mark_redelivered(uint8_t *buf, size_t used, size_t size);

/* The parts of an ExitRecord's Event around an exit and a reply that are packed
 * already, so that neither is packed twice. */
struct codec_exit_event {
	uint64_t seq;
	uint32_t vcpu;
	const uint8_t *exit; /* a packed Exit */
	size_t exit_size;
	const uint8_t *reply; /* a packed ExitReply; NULL for none */
	size_t reply_size;
	uint64_t sent_after_ns, replied_after_ns, reentered_after_ns;
	enum kvmcpu_answerer answered_by;
	uint32_t claim_id, client_id;
	const struct kvmcpu_dump *dump; /* NULL unless fatal */
	uint64_t executed_ticks, idle_ticks;
};
/* A packed Event, without EventBatch around it. */
int codec_pack_exit_event(const struct codec_exit_event *e, uint8_t *buf, size_t size);
/* The same for a change of state; kind must be KVMCPU_EVENT_STATE. */
int codec_pack_state_event(const struct kvmcpu_event *e, uint8_t *buf, size_t size);
/* A field of an EventBatch is a header and bytes; a batch is such fields, one
 * behind another. These append one field; both return the bytes written or
 * -ENOSPC. */
int codec_put_batch_event(const uint8_t *event, size_t event_size, uint8_t *buf, size_t size);
int codec_put_batch_loss(uint32_t vcpu, uint64_t first_seq, uint64_t count, uint8_t *buf,
			 size_t size);

/* Unpackers return 0; -EBADMSG if the bytes are no such message, -EPROTO if
 * they are but break a rule of the schema, -ENOMEM if the arena is too small;
 * err (which may be NULL) says more and *ret is then unspecified. What the
 * schema lets stand for something else is replaced by it: a reply's status and a
 * claim's absence UNSPECIFIED, a pause's timeout 0. Strings are never NULL, and
 * control characters in text for people are blanks. */
int codec_unpack_exit(const uint8_t *buf, size_t size, struct codec_arena *a,
		      struct kvmcpu_exit *ret, struct codec_error *err);
int codec_unpack_reply(const uint8_t *buf, size_t size, struct codec_arena *a,
		       struct kvmcpu_reply *ret, struct codec_error *err);
/* Of another major version only major and minor are set, with 0: check them
 * first. */
int codec_unpack_hello(const uint8_t *buf, size_t size, struct codec_arena *a,
		       struct kvmcpu_hello *ret, struct codec_error *err);
int codec_unpack_hello_reply(const uint8_t *buf, size_t size, struct codec_arena *a,
			     struct kvmcpu_hello_reply *ret, struct codec_error *err);
int codec_unpack_filter(const uint8_t *buf, size_t size, struct kvmcpu_filter *ret,
			struct codec_arena *a, struct codec_error *err);
/* With -EPROTO ret->id is set all the same: the refusal must carry it. A call
 * that is not known here is KVMCPU_CALL_NONE and no error. */
int codec_unpack_request(const uint8_t *buf, size_t size, struct codec_arena *a,
			 struct kvmcpu_request *ret, struct codec_error *err);
int codec_unpack_response(const uint8_t *buf, size_t size, struct codec_arena *a,
			  struct kvmcpu_response *ret, struct codec_error *err);
/* The events of a batch, then its losses as events of kind LOSS. Of a newer
 * daemon, events of an unknown kind are left out, an exit or effect of an unknown
 * kind has kind 0, and an unknown reply status its number. An event takes about
 * 1.3 KiB of the arena, and a dump with it more. */
int codec_unpack_batch(const uint8_t *buf, size_t size, struct codec_arena *a,
		       struct kvmcpu_event **ret_events, size_t *ret_n, struct codec_error *err);

/* What a reply must look like to answer this exit: seq, data size, status,
 * effects' ranges as far as the VM's shape is not needed. 0 or -EPROTO. */
int codec_check_reply(const struct kvmcpu_exit *x, const struct kvmcpu_reply *r,
		      struct codec_error *err);
/* The same for one effect, and for one claim. */
int codec_check_effect(const struct kvmcpu_effect *e, struct codec_error *err);
int codec_check_claim(const struct kvmcpu_claim *c, struct codec_error *err);

/* Names of enumerators for people, lower case ("pio", "running"); "?" for one
 * without a name. And back: 0 for an unknown name. */
const char *codec_kind_name(enum kvmcpu_exit_kind kind);
const char *codec_state_name(enum kvmcpu_vcpu_state state);
const char *codec_space_name(enum kvmcpu_space space);
const char *codec_role_name(enum kvmcpu_role role);
const char *codec_wait_name(enum kvmcpu_wait_cause cause);
const char *codec_answerer_name(enum kvmcpu_answerer answerer);
enum kvmcpu_exit_kind codec_kind_by_name(const char *name);
enum kvmcpu_space codec_space_by_name(const char *name);

#endif
