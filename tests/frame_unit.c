/* SPDX-License-Identifier: MIT
 *
 * Framing: headers of each length, whole and cut at every byte, and lengths
 * that a stranger might send.
 */
#include "config.h"

#include "frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const size_t sizes[] = {
    0, 1, 127, 128, 16383, 16384, 65536, (1 << 21) - 1, 1 << 21, (1 << 28) - 1, 1 << 28, UINT32_MAX,
};

static void test_header_round_trip(void **state)
{
	uint8_t buf[FRAME_HEADER_MAX];
	size_t header, size, last = 1;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = frame_put_header(buf, sizes[i]);

		assert_in_range(n, last, FRAME_HEADER_MAX);
		last = n;
		for (size_t have = 0; have < n; have++) {
			header = size = 77;
			assert_int_equal(frame_parse(buf, have, UINT32_MAX, &header, &size), 0);
			assert_int_equal(header, 0);
			assert_int_equal(size, 0);
		}
		assert_int_equal(frame_parse(buf, n, UINT32_MAX, &header, &size), sizes[i] == 0);
		assert_int_equal(header, n);
		assert_int_equal(size, sizes[i]);
	}
}

static void test_every_cut(void **state)
{
	const size_t body = 300;
	size_t header, size, n;
	uint8_t *buf = malloc(FRAME_HEADER_MAX + body + 1);

	n = frame_put_header(buf, body);
	memset(buf + n, 0xff, body + 1);
	for (size_t have = 0; have <= n + body + 1; have++) {
		/* A copy of just so many bytes: reading past them is seen. */
		uint8_t *cut = malloc(have + !have);
		bool whole = have >= n + body;

		memcpy(cut, buf, have);
		assert_int_equal(frame_parse(cut, have, body, &header, &size), whole);
		assert_int_equal(header, have >= n ? n : 0);
		assert_int_equal(size, have >= n ? body : 0);
		free(cut);
	}
	free(buf);
}

static void test_limit(void **state)
{
	uint8_t buf[FRAME_HEADER_MAX];
	size_t header = 77, size = 77, n = frame_put_header(buf, 65537);

	assert_int_equal(frame_parse(buf, n, 65536, &header, &size), -EMSGSIZE);
	assert_int_equal(header, 77);
	assert_int_equal(size, 77);
	assert_int_equal(frame_parse(buf, n, 65537, &header, &size), 0);
	assert_int_equal(size, 65537);
	n = frame_put_header(buf, 0);
	assert_int_equal(frame_parse(buf, n, 0, &header, &size), 1);
}

static void check_header(const uint8_t *bytes, size_t n, int expected, size_t expected_size)
{
	size_t header = 0, size = 77;

	assert_int_equal(frame_parse(bytes, n, SIZE_MAX, &header, &size), expected);
	if (expected == 0) {
		assert_int_equal(header, n);
		assert_int_equal(size, expected_size);
	}
}

static void test_bad_varints(void **state)
{
	/* The largest, one bit more, a sixth byte, and nothing but "go on". */
	check_header((const uint8_t[]){0xff, 0xff, 0xff, 0xff, 0x0f}, 5, 0, UINT32_MAX);
	check_header((const uint8_t[]){0xff, 0xff, 0xff, 0xff, 0x10}, 5, -EBADMSG, 0);
	check_header((const uint8_t[]){0x81, 0x80, 0x80, 0x80, 0x80, 0x00}, 6, -EBADMSG, 0);
	check_header((const uint8_t[]){0xff, 0xff, 0xff, 0xff, 0xff}, 5, -EBADMSG, 0);
	/* Longer than needed is a varint all the same. */
	check_header((const uint8_t[]){0x85, 0x80, 0x80, 0x80, 0x00}, 5, 0, 5);
}

static void test_one_behind_another(void **state)
{
	uint8_t buf[64];
	size_t used = 0, at = 0, header, size;

	for (size_t i = 0; i < 4; i++) {
		used += frame_put_header(buf + used, i);
		memset(buf + used, (int)i, i);
		used += i;
	}
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(frame_parse(buf + at, used - at, 64, &header, &size), 1);
		assert_int_equal(size, i);
		if (i)
			assert_int_equal(buf[at + header], i);
		at += header + size;
	}
	assert_int_equal(at, used);
	assert_int_equal(frame_parse(buf + at, 0, 64, &header, &size), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_header_round_trip),
	    cmocka_unit_test(test_every_cut),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_bad_varints),
	    cmocka_unit_test(test_one_behind_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
