/* SPDX-License-Identifier: MIT
 *
 * What codec*.c share, and json.c a little of. Packing is done by the small
 * writer below, straight from the plain structures: protobuf-c's own would need
 * a tree of its structures first, and with it memory. Unpacking is protobuf-c's,
 * with the arena as its allocator.
 */
#ifndef KVMCPU_CODEC_INTERNAL_H
#define KVMCPU_CODEC_INTERNAL_H

#include <stdbool.h>
#include <string.h>

#include "codec.h"
#include "kvmcpud/v1/control.pb-c.h"
#include "kvmcpud/v1/event.pb-c.h"
#include "kvmcpud/v1/exit.pb-c.h"
#include "kvmcpud/v1/hello.pb-c.h"

#define WIRE_VARINT_MAX 10 /* bytes of a varint of 64 bits */

/* The writer. Once something did not fit, full stays set and the rest is for
 * nothing. As in every proto3 encoder, scalars that are 0 are left out. */
struct wire {
	uint8_t *start, *p, *end;
	bool full;
};

void wire_init(struct wire *w, uint8_t *buf, size_t size);
/* The bytes written, or -ENOSPC. */
int wire_finish(const struct wire *w);
/* The varint's bytes, one by one against the end. */
void wire_varint_tight(struct wire *w, uint64_t value);
void wire_raw(struct wire *w, const void *data, size_t size);

static inline void wire_varint(struct wire *w, uint64_t value)
{
	if (w->end - w->p < WIRE_VARINT_MAX) {
		wire_varint_tight(w, value);
		return;
	}
	while (value >= 0x80) {
		*w->p++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*w->p++ = (uint8_t)value;
}

static inline void wire_tag(struct wire *w, unsigned int field, unsigned int type)
{
	wire_varint(w, field << 3 | type);
}

static inline void wire_uint(struct wire *w, unsigned int field, uint64_t value)
{
	if (value) {
		wire_tag(w, field, 0);
		wire_varint(w, value);
	}
}

/* A submessage that is packed already; there even if it is empty. */
static inline void wire_message(struct wire *w, unsigned int field, const void *data, size_t size)
{
	wire_tag(w, field, 2);
	wire_varint(w, size);
	wire_raw(w, data, size);
}

static inline void wire_bytes(struct wire *w, unsigned int field, const void *data, size_t size)
{
	if (size)
		wire_message(w, field, data, size);
}

/* NULL is written as "", which is to say not at all. */
static inline void wire_string(struct wire *w, unsigned int field, const char *s)
{
	if (s)
		wire_bytes(w, field, s, strlen(s));
}

/* A submessage of any length: what is written between the two is in it.
 * wire_begin returns the mark that wire_end wants. */
uint8_t *wire_begin(struct wire *w, unsigned int field);
void wire_end(struct wire *w, uint8_t *mark);

void wire_packed(struct wire *w, unsigned int field, const uint64_t *values, size_t n);
/* The numbers of the bits that are set, as a packed list. */
void wire_mask(struct wire *w, unsigned int field, uint64_t mask);

/* Moves *p behind the varint there. False if it is not whole before end, or longer
 * than 64 bits need. */
static inline bool codec_read_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned int shift = 0; shift < 64 && *p < end; shift += 7) {
		uint8_t byte = *(*p)++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = value;
			return true;
		}
	}
	return false;
}

/* Where an unpacked message goes, and how strict to be. */
struct codec_in {
	struct codec_arena *arena;
	struct codec_error *err;
	/* Kinds that a newer minor version added are no error: somebody only
	 * watches. */
	bool lenient;
};

/* Fills err (which may be NULL) and returns code. */
int codec_fail(struct codec_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "what number: " before err's text. Returns code. */
int codec_fail_at(struct codec_error *err, int code, const char *what, size_t number);
/* An array of n elements in the arena, zeroed; NULL with n 0 as well, which is
 * why the result is in *ret. 0 or -ENOMEM. */
int codec_array(const struct codec_in *in, size_t n, size_t element_size, void *ret);

/* Parses bytes as a message of type d. *ret gets protobuf-c's structure, which
 * lives in the arena. 0, -EBADMSG or -ENOMEM. */
int codec_parse(const ProtobufCMessageDescriptor *d, const uint8_t *buf, size_t size,
		const struct codec_in *in, void *ret);
/* The same for replies and exits of the common shapes, into the caller's
 * structures, of which only what such messages have is filled in; their bytes go
 * to the arena. False means: leave it to codec_parse. */
struct codec_scanned {
	Kvmcpud__V1__Pio pio;
	Kvmcpud__V1__Mmio mmio;
};
bool codec_scan_reply(const uint8_t *buf, size_t size, struct codec_arena *a,
		      Kvmcpud__V1__ExitReply *ret);
bool codec_scan_exit(const uint8_t *buf, size_t size, struct codec_arena *a, Kvmcpud__V1__Exit *ret,
		     struct codec_scanned *room);

/* Whether every string of a message that codec_parse took is UTF-8 without a
 * NUL, as proto3 wants. protobuf-c does not look, but others do: one bad string
 * in an event would make a Python monitor drop the whole batch. 0 or -EPROTO. */
int codec_check_text(const ProtobufCMessageDescriptor *d, const uint8_t *buf, size_t size,
		     struct codec_error *err);
/* Control characters in text from a peer become blanks, so that it can go to a
 * log or a terminal. Returns s. */
const char *codec_clean_text(char *s);
/* 0 or -EPROTO: at most KVMCPU_MAX_NAME printable ASCII bytes. */
int codec_check_name(const char *what, const char *name, struct codec_error *err);
int codec_check_vcpu(uint32_t vcpu, struct codec_error *err);
/* [address, address + size) must not pass 2^64; size is at least 1. */
int codec_check_span(uint64_t address, size_t size, struct codec_error *err);
int codec_check_stop(uint32_t code, const char *reason, struct codec_error *err);
/* A list of vCPU indexes as a mask. */
int codec_get_vcpus(const uint32_t *vcpus, size_t n, const struct codec_in *in, uint64_t *ret);

/* Fields of submessages that several messages hold. */
void codec_put_effect(struct wire *w, const struct kvmcpu_effect *e);
void codec_put_dump(struct wire *w, const struct kvmcpu_dump *d);
void codec_put_vm_info(struct wire *w, const struct kvmcpu_vm_info *v);
void codec_put_memory_map(struct wire *w, const struct kvmcpu_memory_map *m);
void codec_put_status(struct wire *w, const struct kvmcpu_status *s);
void codec_put_stats(struct wire *w, const struct kvmcpu_stats *s);

int codec_get_exit(const Kvmcpud__V1__Exit *m, const struct codec_in *in, struct kvmcpu_exit *ret);
int codec_get_reply(const Kvmcpud__V1__ExitReply *m, const struct codec_in *in,
		    struct kvmcpu_reply *ret);
int codec_get_effect(const Kvmcpud__V1__Effect *m, const struct codec_in *in,
		     struct kvmcpu_effect *ret);
int codec_get_dump(const Kvmcpud__V1__Dump *m, const struct codec_in *in, struct kvmcpu_dump *ret);
void codec_get_vm_info(const Kvmcpud__V1__VmInfo *m, struct kvmcpu_vm_info *ret);
int codec_get_memory_map(const Kvmcpud__V1__MemoryMap *m, const struct codec_in *in,
			 struct kvmcpu_memory_map *ret);
int codec_get_status(const Kvmcpud__V1__Status *m, const struct codec_in *in,
		     struct kvmcpu_status *ret);
int codec_get_stats(const Kvmcpud__V1__Stats *m, const struct codec_in *in,
		    struct kvmcpu_stats *ret);

#endif
