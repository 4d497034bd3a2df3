/* SPDX-License-Identifier: MIT
 *
 * JSON: what a script may rely on, and that no message is too odd to be shown.
 */
#include "config.h"

#include "json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "codec_samples.h"

static const int json_types[] = {
    [SAMPLE_EXIT] = JSON_EXIT,
    [SAMPLE_REPLY] = JSON_REPLY,
    [SAMPLE_HELLO] = JSON_HELLO,
    [SAMPLE_HELLO_REPLY] = JSON_HELLO_REPLY,
    [SAMPLE_FILTER] = -1,
    [SAMPLE_REQUEST] = JSON_REQUEST,
    [SAMPLE_RESPONSE] = JSON_RESPONSE,
    [SAMPLE_BATCH] = JSON_EVENT_BATCH,
};

static void expect(enum json_message type, const void *bytes, size_t size, const char *wanted)
{
	struct codec_error err = {""};
	struct json_object *o = json_from_message(type, bytes, size, &err);

	assert_string_equal(err.text, "");
	assert_non_null(o);
	assert_string_equal(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), wanted);
	json_object_put(o);
}

static void expect_exit(const struct kvmcpu_exit *x, const char *wanted)
{
	uint8_t buf[256];
	int n = codec_pack_exit(x, buf, sizeof(buf));

	expect(JSON_EXIT, buf, (size_t)n, wanted);
}

static void test_exits(void **state)
{
	struct kvmcpu_exit x = sample_exit(KVMCPU_EXIT_PIO, KVMCPU_WRITE);

	x.tick = UINT64_MAX;
	x.redelivered = false;
	expect_exit(&x, "{\"seq\":1001,\"vcpu\":62,\"tick\":18446744073709551615,\"left_ns\":1003,"
			"\"redelivered\":false,\"pio\":{\"port\":65535,\"size\":2,\"count\":4,"
			"\"direction\":\"DIRECTION_WRITE\",\"data\":\"a0a1a2a3a4a5a6a7\"}}");
	x = (struct kvmcpu_exit){.seq = 1, .kind = KVMCPU_EXIT_HALT};
	expect_exit(&x, "{\"seq\":1,\"vcpu\":0,\"tick\":0,\"left_ns\":0,\"redelivered\":false,"
			"\"halt\":{}}");
	x.kind = KVMCPU_EXIT_HYPERCALL;
	expect_exit(&x, "{\"seq\":1,\"vcpu\":0,\"tick\":0,\"left_ns\":0,\"redelivered\":false,"
			"\"hypercall\":{\"number\":0,\"args\":[0,0,0,0,0,0],\"long_mode\":false}}");
}

static void test_defaults(void **state)
{
	expect(JSON_REPLY, NULL, 0,
	       "{\"seq\":0,\"status\":\"REPLY_STATUS_UNSPECIFIED\",\"data\":\"\",\"ticks\":0,"
	       "\"effects\":[]}");
	expect(JSON_REQUEST, NULL, 0, "{\"id\":0}");
	expect(JSON_EVENT, NULL, 0, "{\"seq\":0,\"vcpu\":0}");
	expect(JSON_EVENT_BATCH, NULL, 0, "{\"events\":[],\"losses\":[]}");
}

static void test_unknown_enumerator_and_lists(void **state)
{
	/* Status 9; effects: a line, one of no kind. */
	expect(JSON_REPLY, "\x10\x09\x2a\x06\x0a\x04\x08\x05\x10\x01\x2a\x00", 12,
	       "{\"seq\":0,\"status\":9,\"data\":\"\",\"ticks\":0,"
	       "\"effects\":[{\"set_irq_line\":{\"gsi\":5,\"level\":true,"
	       "\"decided_ns\":0}},{}]}");
	/* A filter's kinds are a list of enumerators. */
	expect(JSON_HELLO, "\x4a\x06\x0a\x04\x12\x02\x08\x63", 8,
	       "{\"major\":0,\"minor\":0,\"client\":\"\",\"takes_descriptors\":false,\"monitor\":"
	       "{\"filter\":{\"vcpus\":[],\"kinds\":[\"EXIT_KIND_PIO\",99],\"ranges\":[],"
	       "\"no_states\":false},\"want_memory\":false}}");
	/* An error's text is quoted. */
	expect(JSON_RESPONSE, "\x12\x05\x12\x03\"\n\\", 7,
	       "{\"id\":0,\"error\":{\"code\":\"ERROR_CODE_UNSPECIFIED\","
	       "\"message\":\"\\\"\\n\\\\\"}}");
}

static void test_failures(void **state)
{
	struct codec_error err = {""};

	assert_null(json_from_message(JSON_EXIT, (const uint8_t *)"\x08", 1, &err));
	assert_non_null(strstr(err.text, "Exit"));
	/* Not UTF-8: would be no JSON. */
	assert_null(
	    json_from_message(JSON_RESPONSE, (const uint8_t *)"\x12\x03\x12\x01\xff", 5, &err));
	assert_non_null(strstr(err.text, "UTF-8"));
}

static void test_memory_is_bounded(void **state)
{
	struct codec_error err = {""};
	uint8_t *buf = malloc(KVMCPU_CONTROL_FRAME_MAX);

	/* Half a million empty effects. */
	for (size_t i = 0; i < KVMCPU_CONTROL_FRAME_MAX; i += 2) {
		buf[i] = 5 << 3 | 2;
		buf[i + 1] = 0;
	}
	assert_null(json_from_message(JSON_REPLY, buf, KVMCPU_CONTROL_FRAME_MAX, &err));
	assert_non_null(strstr(err.text, "memory"));
	free(buf);
}

/* What comes out is JSON that parses to the same again, for each sample and for
 * all its cuts that are still messages. */
static void test_every_sample(void **state)
{
	struct codec_error err;
	struct sample s;
	size_t shown = 0;

	for (size_t i = 0; sample_get(i, &s); i++) {
		for (size_t size = s.size; json_types[s.type] >= 0 && size > 0; size--) {
			struct json_object *o = json_from_message(
			    (enum json_message)json_types[s.type], s.bytes, size, &err);
			struct json_object *again;

			assert_true(o || size < s.size);
			if (!o)
				continue;
			again = json_tokener_parse(json_object_to_json_string(o));
			assert_true(json_object_equal(o, again));
			json_object_put(again);
			json_object_put(o);
			shown++;
		}
	}
	assert_true(shown > 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_exits),
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_unknown_enumerator_and_lists),
	    cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_memory_is_bounded),
	    cmocka_unit_test(test_every_sample),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
