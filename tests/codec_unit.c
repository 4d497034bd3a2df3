/* SPDX-License-Identifier: MIT
 *
 * The codec over all samples: nothing is lost on the way there and back, no cut
 * and no flipped bit does harm, and memory stays within what was allowed.
 */
#include "config.h"

#include "codec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec_samples.h"
#include "kvmcpud/v1/control.pb-c.h"

#define ARENA_LIMIT (1 << 20)

static const ProtobufCMessageDescriptor *const descriptors[] = {
    [SAMPLE_EXIT] = &kvmcpud__v1__exit__descriptor,
    [SAMPLE_REPLY] = &kvmcpud__v1__exit_reply__descriptor,
    [SAMPLE_HELLO] = &kvmcpud__v1__hello__descriptor,
    [SAMPLE_HELLO_REPLY] = &kvmcpud__v1__hello_reply__descriptor,
    [SAMPLE_FILTER] = &kvmcpud__v1__filter__descriptor,
    [SAMPLE_REQUEST] = &kvmcpud__v1__request__descriptor,
    [SAMPLE_RESPONSE] = &kvmcpud__v1__response__descriptor,
    [SAMPLE_BATCH] = &kvmcpud__v1__event_batch__descriptor,
};

/* Unpacks from a block of exactly that size, so that the address sanitizer sees
 * any byte read past it. */
static int repack_exact(enum sample_type type, const uint8_t *bytes, size_t size, uint8_t *repacked)
{
	struct codec_arena a;
	struct codec_error err = {"untouched"};
	uint8_t *exact = malloc(size + !size);
	int r;

	memcpy(exact, bytes, size);
	codec_arena_growing(&a, ARENA_LIMIT);
	r = sample_repack(type, exact, size, &a, repacked, &err);
	if (r < 0 && r != -ENOSPC)
		assert_string_not_equal(err.text, "untouched");
	codec_arena_free(&a);
	free(exact);
	return r;
}

static void test_round_trips(void **state)
{
	struct sample s;
	uint8_t repacked[SAMPLE_MAX];
	size_t i;

	for (i = 0; sample_get(i, &s); i++) {
		assert_int_equal(repack_exact(s.type, s.bytes, s.size, repacked), s.size);
		assert_memory_equal(repacked, s.bytes, s.size);
	}
	assert_in_range(i, 40, 100);
}

/* The fields that some sample sets, by protobuf-c's own reading of the bytes. */
struct seen {
	const ProtobufCFieldDescriptor *fields[512];
	size_t n;
};

static bool was_seen(const struct seen *seen, const ProtobufCFieldDescriptor *f)
{
	for (size_t i = 0; i < seen->n; i++)
		if (seen->fields[i] == f)
			return true;
	return false;
}

static bool is_set(const ProtobufCFieldDescriptor *f, const char *base)
{
	const void *p = base + f->offset;

	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)(base + f->quantifier_offset);
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)(base + f->quantifier_offset) == f->id;
	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(void *const *)p;
	case PROTOBUF_C_TYPE_STRING:
		return **(const char *const *)p;
	case PROTOBUF_C_TYPE_BYTES:
		return ((const ProtobufCBinaryData *)p)->len;
	case PROTOBUF_C_TYPE_UINT64:
		return *(const uint64_t *)p;
	default:
		return *(const uint32_t *)p;
	}
}

static void look(struct seen *seen, const ProtobufCMessage *m)
{
	const char *base = (const char *)m;

	for (unsigned int i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
		size_t n = repeated ? *(const size_t *)(base + f->quantifier_offset) : 1;
		const void *p = base + f->offset;

		if (!is_set(f, base))
			continue;
		if (!was_seen(seen, f)) {
			assert_true(seen->n < 512);
			seen->fields[seen->n++] = f;
		}
		for (size_t k = 0; f->type == PROTOBUF_C_TYPE_MESSAGE && k < n; k++)
			look(seen, repeated ? (*(ProtobufCMessage *const *const *)p)[k]
					    : *(ProtobufCMessage *const *)p);
	}
}

static void want_all(const struct seen *seen, const ProtobufCMessageDescriptor *d)
{
	for (unsigned int i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];

		if (!was_seen(seen, f))
			fail_msg("no sample sets %s.%s", d->short_name, f->name);
		if (f->type == PROTOBUF_C_TYPE_MESSAGE)
			want_all(seen, f->descriptor);
	}
}

/* A field that the schema got and the codec did not is found here. */
static void test_every_field_is_packed(void **state)
{
	struct seen seen = {.n = 0};
	struct sample s;

	for (size_t i = 0; sample_get(i, &s); i++) {
		ProtobufCMessage *m =
		    protobuf_c_message_unpack(descriptors[s.type], NULL, s.size, s.bytes);

		assert_non_null(m);
		assert_int_equal(m->n_unknown_fields, 0);
		look(&seen, m);
		protobuf_c_message_free_unpacked(m, NULL);
	}
	for (size_t i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++)
		want_all(&seen, descriptors[i]);
}

static void test_every_truncation(void **state)
{
	struct sample s;
	uint8_t repacked[SAMPLE_MAX];
	size_t failed = 0;

	for (size_t i = 0; sample_get(i, &s); i++) {
		for (size_t cut = 0; cut < s.size; cut++) {
			int r = repack_exact(s.type, s.bytes, cut, repacked);

			/* Some cuts leave a whole, shorter message. Never the same one. */
			if (r >= 0)
				assert_true((size_t)r != s.size ||
					    memcmp(repacked, s.bytes, s.size));
			else
				failed++;
		}
	}
	assert_true(failed > 100);
}

static void test_every_flipped_bit(void **state)
{
	struct sample s;
	uint8_t repacked[SAMPLE_MAX];
	size_t failed = 0, passed = 0;

	for (size_t i = 0; sample_get(i, &s); i++) {
		for (size_t bit = 0; bit < s.size * 8; bit++) {
			int r;

			s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			r = repack_exact(s.type, s.bytes, s.size, repacked);
			s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (r >= 0)
				passed++;
			else if (r == -EBADMSG || r == -EPROTO || r == -ENOMEM)
				failed++;
			else
				fail_msg("sample %zu, bit %zu: %d", i, bit, r);
		}
	}
	assert_true(failed > 100 && passed > 100);
}

/* Common messages are read a shorter way. A field that nobody knows in front of
 * them makes the reader take the long one: both must say the same. */
static void compare_ways(const struct sample *s)
{
	uint8_t slow[SAMPLE_MAX + 3] = {0xa0, 0x06, 0x00}; /* field 100, value 0 */
	uint8_t repacked[2][SAMPLE_MAX];
	int fast_result, slow_result;

	memcpy(slow + 3, s->bytes, s->size);
	fast_result = repack_exact(s->type, s->bytes, s->size, repacked[0]);
	slow_result = repack_exact(s->type, slow, s->size + 3, repacked[1]);
	assert_int_equal(fast_result, slow_result);
	if (fast_result > 0)
		assert_memory_equal(repacked[0], repacked[1], (size_t)fast_result);
}

static void test_both_ways_agree(void **state)
{
	static const struct kvmcpu_reply plain = {.seq = 300,
						  .status = 1,
						  .data_size = 8,
						  .data = (const uint8_t *)"12345678",
						  .ticks = 5};
	struct sample s;
	size_t whole;

	for (size_t i = 0; sample_get(i, &s); i++) {
		if (s.type == SAMPLE_REPLY)
			s.size = (size_t)codec_pack_reply(&plain, s.bytes, SAMPLE_MAX);
		else if (s.type != SAMPLE_EXIT)
			continue;
		for (size_t bit = 0; bit < s.size * 8; bit++) {
			s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			compare_ways(&s);
			s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (size_t at = 0; at < s.size * 256; at++) {
			uint8_t old = s.bytes[at / 256];

			s.bytes[at / 256] = (uint8_t)at;
			compare_ways(&s);
			s.bytes[at / 256] = old;
		}
		for (whole = s.size; s.size > 0; s.size--)
			compare_ways(&s);
		/* Everything twice, then a second submessage alone. */
		memcpy(s.bytes + whole, s.bytes, whole);
		s.size = 2 * whole;
		compare_ways(&s);
		memcpy(s.bytes + whole, "\x42\x02\x08\x05\x4a\x02\x08\x05", 8);
		s.size = whole + 4;
		compare_ways(&s);
		s.size = whole + 8;
		compare_ways(&s);
	}
}

static void test_random_damage(void **state)
{
	struct sample s;
	uint8_t repacked[SAMPLE_MAX];
	uint32_t random = 1; /* the same sequence each time */

	for (size_t i = 0; sample_get(i, &s); i++) {
		for (int round = 0; round < 200; round++) {
			struct sample damaged = s;

			for (int k = 0; k < 4; k++) {
				random = random * 1664525 + 1013904223;
				damaged.bytes[(random >> 8) % s.size] = (uint8_t)(random >> 24);
			}
			repack_exact(s.type, damaged.bytes, s.size, repacked);
		}
	}
}

/* Nothing is written past the end, and the exact size is enough. */
static void test_packing_into_little_room(void **state)
{
	struct kvmcpu_exit x = sample_exit(KVMCPU_EXIT_PIO, KVMCPU_WRITE);
	uint8_t whole[SAMPLE_MAX];
	int n = codec_pack_exit(&x, whole, sizeof(whole));

	assert_true(n > 0);
	for (int room = 0; room <= n; room++) {
		uint8_t *buf = malloc((size_t)room + 1);

		buf[room] = 0x5a;
		assert_int_equal(codec_pack_exit(&x, buf, (size_t)room), room < n ? -ENOSPC : n);
		assert_int_equal(buf[room], 0x5a);
		if (room == n)
			assert_memory_equal(buf, whole, (size_t)n);
		free(buf);
	}
}

/* Lengths of one byte and of two are laid out differently. */
static void test_long_submessages(void **state)
{
	static uint8_t block[1 << 16], data[KVMCPU_PIO_MAX], buf[8192];
	struct kvmcpu_exit out, x = sample_exit(KVMCPU_EXIT_PIO, KVMCPU_WRITE);
	struct codec_error err;
	struct codec_arena a;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	x.size = 1;
	x.data = data;
	for (x.count = 1; x.count <= KVMCPU_PIO_MAX; x.count++) {
		int n, room;

		x.data_size = x.count;
		n = codec_pack_exit(&x, buf, sizeof(buf));
		assert_true(n > 0);
		codec_arena_fixed(&a, block, sizeof(block));
		assert_int_equal(codec_unpack_exit(buf, (size_t)n, &a, &out, &err), 0);
		assert_int_equal(out.data_size, x.count);
		assert_memory_equal(out.data, data, x.count);
		/* What does not fit is refused at every shortfall near the end. */
		for (room = n - 3; room < n; room++)
			assert_int_equal(codec_pack_exit(&x, buf, (size_t)room), -ENOSPC);
	}
}

static void test_mark_redelivered(void **state)
{
	struct kvmcpu_exit out, x = sample_exit(KVMCPU_EXIT_MMIO, KVMCPU_WRITE);
	uint8_t buf[256], block[1024];
	struct codec_error err;
	struct codec_arena a;
	int n, m;

	x.redelivered = false;
	n = codec_pack_exit(&x, buf, sizeof(buf));
	assert_int_equal(codec_mark_redelivered(buf, (size_t)n, (size_t)n + 1), -ENOSPC);
	m = codec_mark_redelivered(buf, (size_t)n, (size_t)n + 2);
	assert_int_equal(m, n + 2);
	codec_arena_fixed(&a, block, sizeof(block));
	assert_int_equal(codec_unpack_exit(buf, (size_t)m, &a, &out, &err), 0);
	assert_true(out.redelivered);
	assert_int_equal(out.seq, x.seq);
	assert_memory_equal(out.data, x.data, x.data_size);
}

static void test_event_without_reply(void **state)
{
	static uint8_t block[8192];
	struct kvmcpu_exit x = sample_exit(KVMCPU_EXIT_SHUTDOWN, 0);
	struct codec_exit_event e = {.seq = 7, .vcpu = 3};
	struct kvmcpu_event *events;
	uint8_t packed[256], event[256], batch[256];
	struct codec_error err;
	struct codec_arena a;
	size_t n;
	int size = codec_pack_exit(&x, packed, sizeof(packed));

	e.exit = packed;
	e.exit_size = (size_t)size;
	size = codec_pack_exit_event(&e, event, sizeof(event));
	assert_true(size > 0);
	size = codec_put_batch_event(event, (size_t)size, batch, sizeof(batch));
	codec_arena_fixed(&a, block, sizeof(block));
	assert_int_equal(codec_unpack_batch(batch, (size_t)size, &a, &events, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(events[0].seq, 7);
	assert_int_equal(events[0].exit.exit.kind, KVMCPU_EXIT_SHUTDOWN);
	assert_int_equal(events[0].exit.reply.seq, 0);
	assert_null(events[0].exit.dump);
	assert_int_equal(codec_unpack_batch(NULL, 0, &a, &events, &n, &err), 0);
	assert_int_equal(n, 0);
}

static void test_arena_alignment(void **state)
{
	static uint8_t block[256];
	struct codec_arena a;

	codec_arena_fixed(&a, block + 1, 100);
	for (int i = 0; i < 5; i++) {
		uint8_t *p = codec_arena_alloc(&a, 3);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		assert_true(p > block && p + 3 <= block + 101);
	}
	assert_null(codec_arena_alloc(&a, 100));
	assert_null(codec_arena_alloc(&a, SIZE_MAX));
	codec_arena_reset(&a);
	assert_non_null(codec_arena_alloc(&a, 80));
	codec_arena_free(&a);
}

static void test_arena_grows_to_its_limit(void **state)
{
	struct codec_arena a;
	size_t got = 0;
	uint8_t *p;

	codec_arena_growing(&a, 100000);
	assert_null(codec_arena_alloc(&a, 100000)); /* the chunk's header counts */
	assert_null(codec_arena_alloc(&a, SIZE_MAX));
	while ((p = codec_arena_alloc(&a, 1000))) {
		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, 0xee, 1000);
		got += 1000;
		assert_true(a.taken <= 100000);
	}
	assert_true(got > 80000 && got < 100000);
	codec_arena_reset(&a);
	assert_int_equal(a.taken, 0);
	assert_non_null(codec_arena_alloc(&a, 99000));
	codec_arena_free(&a);
}

/* With each size of arena an unpack works or says -ENOMEM; the first that works
 * is small enough for a vCPU's stack or struct. */
static void test_exhausted_arena(void **state)
{
	struct sample s;

	for (size_t i = 0; sample_get(i, &s); i++) {
		struct codec_error err;
		struct codec_arena a;
		size_t size;
		int r = -ENOMEM;

		for (size = 0; r == -ENOMEM && size < 65536; size += 16) {
			uint8_t *block = malloc(size + 16);

			codec_arena_fixed(&a, block, size);
			r = sample_repack(s.type, s.bytes, s.size, &a, NULL, &err);
			if (r == -ENOMEM)
				assert_non_null(strstr(err.text, "memory"));
			free(block);
		}
		assert_int_equal(r, 0);
		assert_in_range(size, 16, 8192);
	}
}

/* A frame full of the smallest submessages takes no more than its limit. */
/* size bytes of empty messages of a field, whose tag has one byte or two. */
static void amplify(enum sample_type type, unsigned int tag, size_t size, size_t limit)
{
	uint8_t field[] = {(uint8_t)(tag & 0x7f), 0, 0};
	size_t length = 2;

	uint8_t *buf = malloc(size);
	struct codec_error err;
	struct codec_arena a;

	if (tag > 0x7f) {
		field[0] |= 0x80;
		field[1] = (uint8_t)(tag >> 7);
		length = 3;
	}
	size -= size % length;
	for (size_t i = 0; i < size; i++)
		buf[i] = field[i % length];
	codec_arena_growing(&a, limit);
	assert_int_equal(sample_repack(type, buf, size, &a, NULL, &err), -ENOMEM);
	assert_true(a.taken <= limit);
	assert_non_null(strstr(err.text, "memory"));
	codec_arena_free(&a);
	free(buf);
}

static void test_amplification(void **state)
{
	amplify(SAMPLE_REPLY, 5 << 3 | 2, KVMCPU_DEVICE_FRAME_MAX, 256 << 10);
	amplify(SAMPLE_BATCH, 1 << 3 | 2, KVMCPU_CONTROL_FRAME_MAX, 16 << 20);
	/* An unknown field each. */
	amplify(SAMPLE_REQUEST, 127 << 3 | 2, KVMCPU_CONTROL_FRAME_MAX, 4 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trips),
	    cmocka_unit_test(test_every_field_is_packed),
	    cmocka_unit_test(test_every_truncation),
	    cmocka_unit_test(test_every_flipped_bit),
	    cmocka_unit_test(test_both_ways_agree),
	    cmocka_unit_test(test_random_damage),
	    cmocka_unit_test(test_packing_into_little_room),
	    cmocka_unit_test(test_long_submessages),
	    cmocka_unit_test(test_mark_redelivered),
	    cmocka_unit_test(test_event_without_reply),
	    cmocka_unit_test(test_arena_alignment),
	    cmocka_unit_test(test_arena_grows_to_its_limit),
	    cmocka_unit_test(test_exhausted_arena),
	    cmocka_unit_test(test_amplification),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
