/* SPDX-License-Identifier: MIT
 *
 * The claim table: what is granted and refused, what becomes of ranges whose
 * owner has gone, and that a table which a vCPU looks at stays, with what it
 * refers to, until the vCPU lets go.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>

#include "claim_setup.h"

enum { LIMIT = 65536 };

static void test_edges(void **state)
{
	struct channel *ch = client(1);
	struct kvmcpu_claim wanted[] = {
	    range(16, 31),
	    range(UINT64_MAX, UINT64_MAX),
	    range(0, 0),
	    {.space = KVMCPU_SPACE_PIO, .first = 0, .last = 0xffff, .name = ""},
	    {.space = KVMCPU_SPACE_HALT, .name = ""},
	};

	assert_int_equal(owner(0, 16), 0);
	assert_int_equal(grant(ch, ALL, wanted, 5, NULL), 0);
	for (uint32_t v = 0; v < VCPUS; v++) {
		assert_int_equal(owner(v, 15), 0);
		assert_int_equal(owner(v, 16), 1);
		assert_int_equal(owner(v, 31), 1);
		assert_int_equal(owner(v, 32), 0);
		assert_int_equal(owner(v, 0), 1);
		assert_int_equal(owner(v, 1), 0);
		assert_int_equal(owner(v, UINT64_MAX - 1), 0);
		assert_int_equal(owner(v, UINT64_MAX), 1);
	}
	const struct claim *c = claims_find(&claims, &holds[0], 0, KVMCPU_SPACE_PIO, 0x80);
	assert_string_equal(c->name, "client-1"); /* an empty name takes the client's */
	assert_non_null(claims_find(&claims, &holds[0], 0, KVMCPU_SPACE_HALT, 0));
	assert_null(claims_find(&claims, &holds[0], 0, KVMCPU_SPACE_MSR, 0));
	claims_release(&holds[0]);
	go(ch);
}

static void test_refusals(void **state)
{
	struct channel *one = client(1), *two = client(2);
	struct kvmcpu_claim first = range(10, 20);
	struct kvmcpu_claim both[] = {range(100, 110), range(20, 30)};
	struct kvmcpu_claim own[] = {range(5, 6), range(1, 2), range(6, 9)};
	struct codec_error err = {""};

	assert_int_equal(grant(one, 1, &first, 1, &err), 0);
	assert_int_equal(grant(two, ALL, both, 2, &err), -EEXIST);
	assert_non_null(strstr(err.text, "0x14-0x1e"));
	assert_non_null(strstr(err.text, "client 1 \"client-1\""));
	assert_int_equal(owner(1, 105), 0); /* all or none */
	assert_int_equal(grant(two, ALL, own, 3, &err), -EPROTO);
	assert_non_null(strstr(err.text, "0x5-0x6 and 0x6-0x9"));
	assert_int_equal(claims_count(&claims), 1);
	/* No overlap for the vCPUs that the first does not serve. */
	assert_int_equal(grant(two, ALL & ~1, both, 2, &err), 0);
	assert_int_equal(owner(0, 20), 1);
	assert_int_equal(owner(1, 20), 2);
	go(one);
	go(two);
}

static void test_figures_go_on(void **state)
{
	struct channel *one = client(1), *two = client(2), *three = client(3);
	struct kvmcpu_claim same = range(10, 20), part = range(10, 19);
	const struct claim *c;

	assert_int_equal(grant(one, ALL, &same, 1, NULL), 0);
	claims_at(&claims, 0)->figures->reads = 7;
	go(one);
	assert_int_equal(owner(0, 15), -1);
	assert_int_equal(claims_at(&claims, 0)->figures->reads, 7);
	assert_int_equal(grant(two, ALL, &same, 1, NULL), 0);
	assert_int_equal(claims_count(&claims), 1);
	assert_int_equal(claims_at(&claims, 0)->figures->reads, 7);
	go(two);
	assert_int_equal(grant(three, ALL, &part, 1, NULL), 0);
	assert_int_equal(claims_count(&claims), 2);
	for (size_t i = 0; i < 2; i++) {
		c = claims_at(&claims, i);
		assert_int_equal(c->figures->reads, 0);
		assert_int_equal(c->first, c->client_id == 3 ? 10 : 20);
	}
	go(three);
}

/* A channel that is dead is absent, though L has not heard of it yet. */
static void test_dead_channel(void **state)
{
	struct channel *one = client(1), *two = client(2);
	struct kvmcpu_claim same = range(10, 20);

	assert_int_equal(grant(one, ALL, &same, 1, NULL), 0);
	atomic_store(&one->dead, true);
	assert_int_equal(owner(0, 10), -1);
	assert_int_equal(grant(two, ALL, &same, 1, NULL), 0);
	assert_int_equal(owner(0, 10), 2);
	go(one);
	assert_int_equal(owner(0, 10), 2);
	go(two);
}

static void test_abandoned(void **state)
{
	struct channel *one = client(1);
	struct kvmcpu_claim wanted = range(1, 2);
	struct claim_table *t;
	int fd = one->fd;

	assert_int_equal(claims_prepare(&claims, one, ALL, &wanted, 1, &t, NULL), 0);
	assert_int_equal(owner(0, 1), 0);
	claims_abandon(&claims, t);
	assert_int_equal(claims_count(&claims), 0);
	channel_unref(one);
	assert_int_equal(fcntl(fd, F_GETFD), -1); /* nothing else referred to it */
}

static void test_held_table_stays(void **state)
{
	struct channel *one = client(1), *two = client(2);
	struct kvmcpu_claim wanted = range(1, 2);
	int fd = one->fd;

	assert_int_equal(grant(one, ALL, &wanted, 1, NULL), 0);
	const struct claim *c = claims_find(&claims, &holds[2], 2, KVMCPU_SPACE_MMIO, 1);
	go(one);
	assert_int_equal(grant(two, ALL, &wanted, 1, NULL), 0);
	claims_collect(&claims);
	assert_int_equal(c->client_id, 1);
	assert_ptr_equal(c->channel, one);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	claims_release(&holds[2]);
	claims_collect(&claims);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	go(two);
}

/* As many as there may be; and one of their owners may go and come back. */
static void test_limit(void **state)
{
	struct channel *chs[5];
	struct kvmcpu_claim *wanted = calloc(KVMCPU_MAX_CLAIMS, sizeof(*wanted)), one = range(0, 0);
	struct codec_error err;

	for (uint32_t c = 0; c < 5; c++)
		chs[c] = client(c + 1);
	for (uint64_t c = 0; c < 4; c++) {
		for (uint64_t i = 0; i < KVMCPU_MAX_CLAIMS; i++)
			wanted[i] =
			    range(1 + c * KVMCPU_MAX_CLAIMS + i, 1 + c * KVMCPU_MAX_CLAIMS + i);
		assert_int_equal(grant(chs[c], ALL, wanted, KVMCPU_MAX_CLAIMS, &err), 0);
	}
	assert_int_equal(claims_count(&claims), LIMIT);
	assert_int_equal(grant(chs[4], ALL, &one, 1, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "65536"));
	for (uint64_t a = 1; a <= LIMIT; a += 997)
		assert_int_equal(owner(a % VCPUS, a), 1 + (a - 1) / KVMCPU_MAX_CLAIMS);
	go(chs[3]);
	assert_int_equal(grant(chs[4], ALL, wanted, KVMCPU_MAX_CLAIMS, &err), 0);
	assert_int_equal(owner(0, LIMIT), 5);
	assert_int_equal(claims_count(&claims), LIMIT);
	for (uint32_t c = 0; c < 5; c++)
		if (c != 3)
			go(chs[c]);
	free(wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_edges, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_figures_go_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_dead_channel, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_abandoned, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_held_table_stays, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
	};

	return cmocka_run_group_tests_name("claim", tests, NULL, NULL);
}
