/* SPDX-License-Identifier: MIT
 *
 * The schema's rules, each at its bound and just past it, and the sentence that
 * names what was refused.
 */
#include "config.h"

#include "codec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec_samples.h"

static uint8_t buf[KVMCPU_CONTROL_FRAME_MAX];
static uint8_t block[4 << 20];
static uint8_t data[KVMCPU_MAX_MEMORY_CALL + 1];
static struct codec_error err;
static struct codec_arena arena;

/* Packs and unpacks again; the result is in *ret. */
#define PASS(what, value, ret)                                                                     \
	(codec_arena_fixed(&arena, block, sizeof(block)),                                          \
	 codec_unpack_##what(buf, (size_t)codec_pack_##what(value, buf, sizeof(buf)), &arena, ret, \
			     &err))

static void refused(int result, const char *words)
{
	assert_int_equal(result, -EPROTO);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static int pass_exit(const struct kvmcpu_exit *x)
{
	struct kvmcpu_exit out;

	return PASS(exit, x, &out);
}

static void test_pio_exits(void **state)
{
	struct kvmcpu_exit x = sample_exit(KVMCPU_EXIT_PIO, KVMCPU_READ);

	assert_int_equal(pass_exit(&x), 0);
	x.address = 0x10000;
	refused(pass_exit(&x), "0x10000");
	x.address = 0;
	for (x.size = 0; x.size <= 8; x.size++) {
		if (x.size == 1 || x.size == 2 || x.size == 4)
			assert_int_equal(pass_exit(&x), 0);
		else
			refused(pass_exit(&x), "not 1, 2 or 4");
	}
	x.size = 4;
	x.count = 1024;
	assert_int_equal(pass_exit(&x), 0);
	x.count = 1025;
	refused(pass_exit(&x), "1025 elements, not 1 to 1024");
	x.count = 0;
	refused(pass_exit(&x), "0 elements");
	x.count = UINT32_MAX / 4 + 2; /* size * count wraps to 4 */
	refused(pass_exit(&x), "elements");
}

static void test_exit_data(void **state)
{
	struct kvmcpu_exit x = sample_exit(KVMCPU_EXIT_PIO, KVMCPU_WRITE);

	assert_int_equal(pass_exit(&x), 0);
	x.data_size--;
	refused(pass_exit(&x), "pio exit with 7 bytes of data where 8 are due");
	x.direction = KVMCPU_READ;
	refused(pass_exit(&x), "7 bytes of data where 0 are due");
	x.direction = 0;
	refused(pass_exit(&x), "direction 0");
	x.direction = 3;
	refused(pass_exit(&x), "direction 3");
}

static void test_other_exits(void **state)
{
	struct kvmcpu_exit out, x = sample_exit(KVMCPU_EXIT_MMIO, KVMCPU_READ);

	x.size = 8;
	assert_int_equal(pass_exit(&x), 0);
	x.size = 9;
	refused(pass_exit(&x), "size 9, not 1 to 8");
	x.size = 0;
	refused(pass_exit(&x), "size 0");
	x = sample_exit(KVMCPU_EXIT_HALT, 0);
	x.vcpu = 63;
	assert_int_equal(pass_exit(&x), 0);
	x.vcpu = 64;
	refused(pass_exit(&x), "vcpu 64");
	x.vcpu = 0;
	x.seq = 0;
	refused(pass_exit(&x), "without a seq");
	x.kind = KVMCPU_EXIT_NONE;
	refused(pass_exit(&x), "no kind");
	x = sample_exit(KVMCPU_EXIT_NOTICE, 0);
	x.seq = 0;
	x.notice.message = "two\nlines\x7f";
	assert_int_equal(PASS(exit, &x, &out), 0);
	assert_string_equal(out.notice.message, "two lines ");
	x = sample_exit(KVMCPU_EXIT_MSR, KVMCPU_WRITE);
	assert_int_equal(PASS(exit, &x, &out), 0);
	assert_int_equal(out.data_size, 8);
	assert_memory_equal(out.data, x.data, 8);
}

static int pass_effect(const struct kvmcpu_effect *e)
{
	struct kvmcpu_reply out, r = {.seq = 1, .effects = e, .n_effects = 1};
	int checked = codec_check_effect(e, &err);
	int result = PASS(reply, &r, &out);

	assert_int_equal(checked, result);
	if (result < 0)
		assert_memory_equal(err.text, "effect 0: ", 10);
	else
		assert_int_equal(out.status, KVMCPU_REPLY_OK);
	return result;
}

static void test_effects(void **state)
{
	struct kvmcpu_effect e = {.kind = KVMCPU_EFFECT_SET_IRQ_LINE};

	e.irq_line.gsi = 23;
	assert_int_equal(pass_effect(&e), 0);
	e.irq_line.gsi = 24;
	refused(pass_effect(&e), "interrupt line 24 is above 23");
	e = (struct kvmcpu_effect){.kind = KVMCPU_EFFECT_INTERRUPT, .cpu = {63, 32}};
	assert_int_equal(pass_effect(&e), 0);
	e.cpu.vector = 31;
	refused(pass_effect(&e), "vector 31");
	e.cpu.vector = 255;
	assert_int_equal(pass_effect(&e), 0);
	e.cpu.vector = 256;
	refused(pass_effect(&e), "vector 256");
	e.cpu.vector = 32;
	e.cpu.vcpu = 64;
	refused(pass_effect(&e), "vcpu 64");
	e.kind = KVMCPU_EFFECT_NMI;
	refused(pass_effect(&e), "vcpu 64");
	e.kind = KVMCPU_EFFECT_WAKE;
	refused(pass_effect(&e), "vcpu 64");
	e.cpu.vcpu = 63;
	assert_int_equal(pass_effect(&e), 0);
	e.kind = 0;
	refused(codec_check_effect(&e, &err), "no kind");
	e.kind = KVMCPU_EFFECT_END_RUN;
	e.cpu.vcpu = 64;
	refused(pass_effect(&e), "vcpu 64");
	e.kind = 99;
	refused(codec_check_effect(&e, &err), "no kind");
}

static void test_memory_effects(void **state)
{
	struct kvmcpu_effect e = {.kind = KVMCPU_EFFECT_WRITE_MEMORY, .memory = {0, data, 1}};

	assert_int_equal(pass_effect(&e), 0);
	e.memory.size = 0;
	refused(pass_effect(&e), "0 bytes");
	e.memory.size = 32768;
	assert_int_equal(pass_effect(&e), 0);
	e.memory.size = 32769;
	refused(pass_effect(&e), "32769 bytes");
	e.memory.size = 2;
	e.memory.address = UINT64_MAX - 1;
	assert_int_equal(pass_effect(&e), 0);
	e.memory.address = UINT64_MAX;
	refused(pass_effect(&e), "wrap around");
}

static void test_stop_effects(void **state)
{
	struct kvmcpu_effect e = {.kind = KVMCPU_EFFECT_STOP_VM, .stop = {63, NULL}};
	char reason[KVMCPU_MAX_REASON + 2];

	assert_int_equal(pass_effect(&e), 0);
	e.stop.code = 64;
	refused(pass_effect(&e), "stop code 64");
	e.stop.code = 0;
	e.stop.reason = reason;
	memset(reason, 'x', sizeof(reason));
	reason[KVMCPU_MAX_REASON] = 0;
	assert_int_equal(pass_effect(&e), 0);
	reason[KVMCPU_MAX_REASON] = 'x';
	reason[KVMCPU_MAX_REASON + 1] = 0;
	refused(pass_effect(&e), "201 bytes");
}

static int unpack_reply(const void *bytes, size_t size)
{
	struct kvmcpu_reply out;

	codec_arena_fixed(&arena, block, sizeof(block));
	return codec_unpack_reply(bytes, size, &arena, &out, &err);
}

/* A reply whose one effect stops the VM with these four bytes as the reason. */
static int stop_with(const char *reason)
{
	uint8_t bytes[] = {0x08, 1, 0x2a, 8, 0x32, 6, 0x12, 4, 0, 0, 0, 0};

	memcpy(bytes + 8, reason, 4);
	return unpack_reply(bytes, sizeof(bytes));
}

static void test_reasons_are_text(void **state)
{
	assert_int_equal(stop_with("abcd"), 0);
	assert_int_equal(stop_with("\xf0\x9f\x98\x80"), 0);
	assert_int_equal(stop_with("\xc3\xa4\xc3\xb6"), 0);
	refused(stop_with("ab\0c"), "StopVm.reason");
	refused(stop_with("abc\0"), "StopVm.reason");
	refused(stop_with("abc\xc3"), "UTF-8");
	refused(stop_with("\xc0\xafxx"), "UTF-8");	 /* longer than needed */
	refused(stop_with("\xe0\x80\x80x"), "UTF-8");	 /* the same */
	refused(stop_with("\xed\xa0\x80x"), "UTF-8");	 /* a surrogate */
	refused(stop_with("\xf4\x90\x80\x80"), "UTF-8"); /* past U+10FFFF */
	refused(stop_with("\xf5\x80\x80\x80"), "UTF-8");
	refused(stop_with("\x80xxx"), "UTF-8");
}

static void test_replies(void **state)
{
	static struct kvmcpu_effect effects[KVMCPU_MAX_EFFECTS + 1];
	struct kvmcpu_reply out, r = {.seq = 1, .effects = effects, .n_effects = 64};

	for (size_t i = 0; i <= KVMCPU_MAX_EFFECTS; i++)
		effects[i].kind = KVMCPU_EFFECT_WAKE;
	assert_int_equal(PASS(reply, &r, &out), 0);
	assert_int_equal(out.n_effects, 64);
	r.n_effects = 65;
	refused(PASS(reply, &r, &out), "65 effects");
	r.n_effects = 0;
	r.status = 3;
	refused(PASS(reply, &r, &out), "status 3");
	/* An effect of no kind, and of field 31. */
	refused(unpack_reply("\x08\x01\x2a\x00", 4), "effect 0: an effect of no kind");
	refused(unpack_reply("\x08\x01\x2a\x03\xfa\x01\x00", 7), "effect 0: an effect of no kind");
	assert_int_equal(unpack_reply("\x08", 1), -EBADMSG);
	assert_int_equal(unpack_reply("", 0), 0);
}

static void check_sizes(const struct kvmcpu_exit *x, size_t least, size_t most)
{
	struct kvmcpu_reply r = {.seq = x->seq, .data = data};
	char due[32];

	snprintf(due, sizeof(due), "%zu are due", most);
	for (r.data_size = 0; r.data_size <= most + 1; r.data_size++) {
		r.status = KVMCPU_REPLY_OK;
		if (r.data_size >= least && r.data_size <= most)
			assert_int_equal(codec_check_reply(x, &r, &err), 0);
		else
			refused(codec_check_reply(x, &r, &err), due);
		r.status = KVMCPU_REPLY_BUS_ERROR;
		assert_int_equal(codec_check_reply(x, &r, &err), r.data_size ? -EPROTO : 0);
	}
}

static void test_reply_against_exit(void **state)
{
	struct kvmcpu_effect bad = {.kind = KVMCPU_EFFECT_NMI, .cpu = {.vcpu = 64}};
	struct kvmcpu_exit x = sample_exit(KVMCPU_EXIT_HALT, 0);
	struct kvmcpu_reply r = {.seq = x.seq + 1};

	refused(codec_check_reply(&x, &r, &err), "reply to seq 1002 while exit 1001");
	r.seq = x.seq;
	assert_int_equal(codec_check_reply(&x, &r, &err), 0);
	r.status = 3;
	refused(codec_check_reply(&x, &r, &err), "status 3");
	r.status = KVMCPU_REPLY_OK;
	r.effects = &bad;
	r.n_effects = 1;
	refused(codec_check_reply(&x, &r, &err), "effect 0: vcpu 64");
	check_sizes(&x, 0, 0);
	x = sample_exit(KVMCPU_EXIT_PIO, KVMCPU_READ);
	check_sizes(&x, 8, 8);
	x = sample_exit(KVMCPU_EXIT_PIO, KVMCPU_WRITE);
	check_sizes(&x, 0, 0);
	x = sample_exit(KVMCPU_EXIT_MMIO, KVMCPU_READ);
	check_sizes(&x, 7, 7);
	x = sample_exit(KVMCPU_EXIT_MSR, KVMCPU_READ);
	check_sizes(&x, 8, 8);
	x = sample_exit(KVMCPU_EXIT_HYPERCALL, 0);
	check_sizes(&x, 0, 8);
}

static int pass_claim(const struct kvmcpu_claim *c)
{
	struct kvmcpu_hello out, h = {.major = 1, .client = "c", .role = KVMCPU_ROLE_DEVICE};
	int checked = codec_check_claim(c, &err);
	int r;

	h.device.claims = c;
	h.device.n_claims = 1;
	r = PASS(hello, &h, &out);
	assert_int_equal(checked, r);
	if (r < 0)
		assert_memory_equal(err.text, "claim 0: ", 9);
	else
		assert_true(out.device.claims[0].absence != 0);
	return r;
}

static void test_claims(void **state)
{
	struct kvmcpu_claim c = {.space = KVMCPU_SPACE_PIO, .first = 0x3f8, .last = 0xffff};
	char name[KVMCPU_MAX_NAME + 2];

	assert_int_equal(pass_claim(&c), 0);
	c.last = 0x10000;
	refused(pass_claim(&c), "pio range 0x3f8-0x10000 ends past 0xffff");
	c.last = 0x3f7;
	refused(pass_claim(&c), "begins at 0x3f8, above its end 0x3f7");
	c = (struct kvmcpu_claim){.space = KVMCPU_SPACE_MSR, .last = UINT32_MAX};
	assert_int_equal(pass_claim(&c), 0);
	c.last++;
	refused(pass_claim(&c), "msr range 0x0-0x100000000");
	c.space = KVMCPU_SPACE_MMIO;
	c.last = UINT64_MAX;
	assert_int_equal(pass_claim(&c), 0);
	c.space = KVMCPU_SPACE_HALT;
	c.last = 1;
	refused(pass_claim(&c), "halt range 0x0-0x1");
	c.last = 0;
	assert_int_equal(pass_claim(&c), 0);
	c.space = 0;
	refused(pass_claim(&c), "space 0");
	c.space = 6;
	refused(pass_claim(&c), "space 6");
	c.space = KVMCPU_SPACE_HALT;
	c.absence = 3;
	refused(pass_claim(&c), "absence 3");
	c.absence = KVMCPU_ABSENCE_FILL;
	c.name = memset(name, ' ', sizeof(name));
	name[KVMCPU_MAX_NAME] = 0;
	assert_int_equal(pass_claim(&c), 0);
	name[KVMCPU_MAX_NAME] = '~';
	name[KVMCPU_MAX_NAME + 1] = 0;
	refused(pass_claim(&c), "65 bytes");
	name[3] = 0;
	name[2] = 0x7f;
	refused(pass_claim(&c), "byte 0x7f at offset 2");
	name[2] = 0x1f;
	refused(pass_claim(&c), "byte 0x1f");
}

static int pass_hello(const struct kvmcpu_hello *h)
{
	struct kvmcpu_hello out;

	return PASS(hello, h, &out);
}

static void test_hello(void **state)
{
	struct kvmcpu_claim *claims = calloc(KVMCPU_MAX_CLAIMS + 1, sizeof(*claims));
	struct kvmcpu_hello out, h = {.major = 1, .client = "c", .role = KVMCPU_ROLE_CONTROL};

	assert_int_equal(pass_hello(&h), 0);
	h.client = "";
	refused(pass_hello(&h), "empty");
	h.client = "\xc3\xa4";
	refused(pass_hello(&h), "byte 0xc3");
	h.client = "c";
	h.role = 0;
	refused(pass_hello(&h), "role");
	h.role = KVMCPU_ROLE_DEVICE;
	refused(pass_hello(&h), "0 claims, not 1 to 16384");
	for (size_t i = 0; i <= KVMCPU_MAX_CLAIMS; i++)
		claims[i].space = KVMCPU_SPACE_PIO;
	h.device.claims = claims;
	h.device.n_claims = KVMCPU_MAX_CLAIMS;
	assert_int_equal(pass_hello(&h), 0);
	claims[KVMCPU_MAX_CLAIMS - 1].last = 0x10000;
	refused(pass_hello(&h), "claim 16383: ");
	claims[KVMCPU_MAX_CLAIMS - 1].last = 0;
	h.device.n_claims++;
	refused(pass_hello(&h), "16385 claims");
	/* Another major version may mean anything by the rest. */
	h.major = 2;
	h.minor = 3;
	assert_int_equal(PASS(hello, &h, &out), 0);
	assert_int_equal(out.major, 2);
	assert_int_equal(out.minor, 3);
	free(claims);
}

/* n times the same vCPU or kind, and n ranges, as a Filter; packed by hand,
 * because a mask cannot say the same twice. */
static int unpack_filter(unsigned int field, size_t n, uint8_t value)
{
	struct kvmcpu_filter out;
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		buf[used++] = (uint8_t)(field << 3 | (field == 3 ? 2 : 0));
		if (field == 3) {
			buf[used++] = 2;
			buf[used++] = 1 << 3;
		}
		buf[used++] = value;
	}
	codec_arena_fixed(&arena, block, sizeof(block));
	return codec_unpack_filter(buf, used, &out, &arena, &err);
}

static void test_filters(void **state)
{
	struct kvmcpu_filter out, f = {.n_ranges = 1, .ranges = {{KVMCPU_SPACE_PIO, 8, 8}}};

	for (unsigned int field = 1; field <= 3; field++) {
		uint8_t value = field == 2 ? KVMCPU_EXIT_PIO : KVMCPU_SPACE_PIO;

		assert_int_equal(unpack_filter(field, 64, value), 0);
		refused(unpack_filter(field, 65, value), "filter: 65");
	}
	assert_int_equal(unpack_filter(1, 1, 63), 0);
	refused(unpack_filter(1, 1, 64), "vcpu 64");
	assert_int_equal(unpack_filter(2, 1, KVMCPU_EXIT_UNKNOWN), 0);
	refused(unpack_filter(2, 1, 25), "kind 25");
	refused(unpack_filter(2, 1, 0), "kind 0");
	refused(unpack_filter(2, 1, KVMCPU_EXIT_NOTICE), "kind 31");
	refused(unpack_filter(3, 1, 6), "filter: range 0: space 6");
	codec_arena_fixed(&arena, block, sizeof(block));
	assert_true(codec_pack_filter(&f, buf, sizeof(buf)) > 0);
	f.ranges[0].first = 9;
	assert_int_equal(codec_unpack_filter(buf, (size_t)codec_pack_filter(&f, buf, sizeof(buf)),
					     &out, &arena, &err),
			 -EPROTO);
	refused(-EPROTO, "begins at 0x9, above its end 0x8");
}

static int pass_request(const struct kvmcpu_request *r)
{
	struct kvmcpu_request out;
	int result = PASS(request, r, &out);

	/* Whatever was wrong, the answer can be addressed. */
	assert_int_equal(out.id, r->id);
	return result;
}

static void test_requests(void **state)
{
	struct kvmcpu_request out, r = {.id = UINT64_MAX, .call = KVMCPU_CALL_PAUSE};

	assert_int_equal(PASS(request, &r, &out), 0);
	assert_int_equal(out.pause.timeout_ms, 1000);
	r.pause.timeout_ms = 600000;
	assert_int_equal(pass_request(&r), 0);
	r.pause.timeout_ms = 600001;
	refused(pass_request(&r), "600001 ms");
	r = (struct kvmcpu_request){.id = 7, .call = KVMCPU_CALL_STOP, .stop = {63, ""}};
	assert_int_equal(pass_request(&r), 0);
	r.stop.code = 64;
	refused(pass_request(&r), "stop code 64");
	r.stop.code = 1;
	r.stop.reason = "\xff";
	refused(pass_request(&r), "StopCall.reason");
	r = (struct kvmcpu_request){.id = 8, .call = KVMCPU_CALL_DUMP, .dump = {63}};
	assert_int_equal(pass_request(&r), 0);
	r.dump.vcpu = 64;
	refused(pass_request(&r), "vcpu 64");
	r = (struct kvmcpu_request){.id = 9, .call = KVMCPU_CALL_EFFECT};
	r.effect.kind = KVMCPU_EFFECT_SET_IRQ_LINE;
	r.effect.irq_line.gsi = 24;
	refused(pass_request(&r), "line 24");
	/* No call at all, and one of a field that nobody knows yet. */
	r = (struct kvmcpu_request){.id = 10};
	assert_int_equal(PASS(request, &r, &out), 0);
	assert_int_equal(out.call, KVMCPU_CALL_NONE);
	codec_arena_fixed(&arena, block, sizeof(block));
	assert_int_equal(
	    codec_unpack_request((const uint8_t *)"\x08\x0b\xfa\x07\x00", 5, &arena, &out, &err),
	    0);
	assert_int_equal(out.id, 11);
	assert_int_equal(out.call, KVMCPU_CALL_NONE);
}

static void test_memory_requests(void **state)
{
	struct kvmcpu_request r = {.id = 1, .call = KVMCPU_CALL_READ_MEMORY};

	r.memory.size = 524288;
	assert_int_equal(pass_request(&r), 0);
	r.memory.address = UINT64_MAX - 524287;
	assert_int_equal(pass_request(&r), 0);
	r.memory.address++;
	refused(pass_request(&r), "wrap around");
	r.memory.address = 0;
	r.memory.size++;
	refused(pass_request(&r), "524289 bytes");
	r.memory.size = 0;
	refused(pass_request(&r), "0 bytes");
	r.call = KVMCPU_CALL_WRITE_MEMORY;
	refused(pass_request(&r), "0 bytes");
	r.memory.data = data;
	r.memory.data_size = 524288;
	assert_int_equal(pass_request(&r), 0);
	r.memory.data_size++;
	refused(pass_request(&r), "524289 bytes");
	r.memory.data_size = 2;
	r.memory.address = UINT64_MAX;
	refused(pass_request(&r), "wrap around");
}

static void test_responses(void **state)
{
	struct kvmcpu_response out;

	codec_arena_fixed(&arena, block, sizeof(block));
	refused(codec_unpack_response((const uint8_t *)"\x08\x05", 2, &arena, &out, &err),
		"response 5 has neither");
	/* An error that says nothing is one all the same. */
	assert_int_equal(codec_unpack_response((const uint8_t *)"\x12\x00", 2, &arena, &out, &err),
			 0);
	assert_int_equal(out.result, KVMCPU_RESULT_NONE);
	assert_int_equal(out.error.code, KVMCPU_ERROR_SYSTEM);
	assert_string_equal(out.error.message, "");
}

static int unpack_batch(const char *bytes, size_t size, struct kvmcpu_event **events, size_t *n)
{
	codec_arena_fixed(&arena, block, sizeof(block));
	return codec_unpack_batch((const uint8_t *)bytes, size, &arena, events, n, &err);
}

static void test_events_of_a_newer_daemon(void **state)
{
	struct kvmcpu_event *events;
	size_t n;

	/* An event of field 31 and nothing else. */
	assert_int_equal(unpack_batch("\x0a\x05\x08\x01\xfa\x01\x00", 7, &events, &n), 0);
	assert_int_equal(n, 0);
	/* An exit of field 30, its reply with status 9 and an effect of field 31. */
	assert_int_equal(unpack_batch("\x0a\x14\x08\x02\x1a\x10\x0a\x03\xf2\x01\x00"
				      "\x12\x09\x10\x09\x2a\x03\xfa\x01\x00\x20\x04",
				      22, &events, &n),
			 0);
	assert_int_equal(n, 1);
	assert_int_equal(events[0].seq, 2);
	assert_int_equal(events[0].exit.exit.kind, KVMCPU_EXIT_NONE);
	assert_int_equal(events[0].exit.reply.status, 9);
	assert_int_equal(events[0].exit.reply.n_effects, 1);
	assert_int_equal(events[0].exit.reply.effects[0].kind, 0);
	assert_int_equal(events[0].exit.reply.ticks, 4);
	/* But an event of vCPU 64 is wrong in every version. */
	refused(unpack_batch("\x0a\x02\x10\x40", 4, &events, &n), "event 0: vcpu 64");
	refused(unpack_batch("\x12\x02\x08\x40", 4, &events, &n), "loss 0: vcpu 64");
}

static void test_names(void **state)
{
	for (unsigned int i = 0; i < 40; i++) {
		const char *kind = codec_kind_name(i), *space = codec_space_name(i);

		if (kind[0] != '?')
			assert_int_equal(codec_kind_by_name(kind), i);
		if (space[0] != '?')
			assert_int_equal(codec_space_by_name(space), i);
	}
	assert_string_equal(codec_kind_name(KVMCPU_EXIT_NOTICE), "notice");
	assert_string_equal(codec_kind_name(-1), "?");
	assert_string_equal(codec_state_name(KVMCPU_VCPU_WAITING_REPLY), "waiting_reply");
	assert_string_equal(codec_role_name(0), "?");
	assert_string_equal(codec_wait_name(KVMCPU_WAIT_ABSENT), "absent");
	assert_string_equal(codec_answerer_name(KVMCPU_ANSWERED_BY_NOBODY), "unclaimed");
	assert_int_equal(codec_kind_by_name("?"), 0);
	assert_int_equal(codec_space_by_name(""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pio_exits),
	    cmocka_unit_test(test_exit_data),
	    cmocka_unit_test(test_other_exits),
	    cmocka_unit_test(test_effects),
	    cmocka_unit_test(test_memory_effects),
	    cmocka_unit_test(test_stop_effects),
	    cmocka_unit_test(test_reasons_are_text),
	    cmocka_unit_test(test_replies),
	    cmocka_unit_test(test_reply_against_exit),
	    cmocka_unit_test(test_claims),
	    cmocka_unit_test(test_hello),
	    cmocka_unit_test(test_filters),
	    cmocka_unit_test(test_requests),
	    cmocka_unit_test(test_memory_requests),
	    cmocka_unit_test(test_responses),
	    cmocka_unit_test(test_events_of_a_newer_daemon),
	    cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
