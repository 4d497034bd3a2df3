/* SPDX-License-Identifier: MIT
 *
 * The claim table against a plain model: for each vCPU and address the model
 * keeps who answers there, and every look-up must say the same, whatever was
 * granted, refused, orphaned and replaced before. And look-ups by other threads
 * while tables come and go.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>

#include "claim_setup.h"

enum { ADDRESSES = 48, CLIENTS = 6 };

static int model[VCPUS][ADDRESSES]; /* as owner() */
static struct channel *channels[CLIENTS + 1];
static uint32_t ids[CLIENTS + 1];

static unsigned roll(uint64_t *random, unsigned n)
{
	*random = *random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(*random >> 33) % n;
}

/* What the model says to a request, -EPROTO, -EEXIST or 0, and does it. */
static int model_grant(int id, uint64_t mask, const struct kvmcpu_claim *wanted, size_t n)
{
	bool mine[ADDRESSES] = {false};
	int r = 0;

	for (size_t i = 0; i < n; i++)
		for (uint64_t a = wanted[i].first; a <= wanted[i].last; a++) {
			if (mine[a])
				return -EPROTO;
			mine[a] = true;
		}
	for (int v = 0; v < VCPUS; v++)
		for (int a = 0; a < ADDRESSES; a++)
			if (mine[a] && mask >> v & 1 && model[v][a] > 0)
				r = -EEXIST;
	for (int v = 0; v < VCPUS; v++)
		for (int a = 0; a < ADDRESSES; a++)
			if (r == 0 && mine[a] && mask >> v & 1)
				model[v][a] = id;
	return r;
}

static void model_check(void)
{
	for (uint32_t v = 0; v < VCPUS; v++)
		for (uint32_t a = 0; a < ADDRESSES; a++)
			assert_int_equal(owner(v, a), model[v][a]);
}

static void come(uint64_t *random, unsigned c, uint32_t id)
{
	struct kvmcpu_claim wanted[4];
	size_t n = 1 + roll(random, 4);
	uint64_t mask = 1 + roll(random, ALL);
	struct codec_error err;

	for (size_t i = 0; i < n; i++) {
		wanted[i] = range(roll(random, ADDRESSES), 0);
		wanted[i].last = wanted[i].first + roll(random, 8);
		if (wanted[i].last >= ADDRESSES)
			wanted[i].last = ADDRESSES - 1;
	}
	channels[c] = client(id);
	ids[c] = id;
	int want = model_grant((int)id, mask, wanted, n);
	assert_int_equal(grant(channels[c], mask, wanted, n, &err), want);
	if (want != 0) {
		channel_unref(channels[c]);
		channels[c] = NULL;
	}
}

static void leave(unsigned c)
{
	go(channels[c]);
	channels[c] = NULL;
	for (int v = 0; v < VCPUS; v++)
		for (int a = 0; a < ADDRESSES; a++)
			if (model[v][a] == (int)ids[c])
				model[v][a] = -(int)ids[c];
}

static void test_model(void **state)
{
	uint64_t random = 42;
	unsigned granted = 0, refused = 0;

	for (uint32_t step = 1; step <= 4000; step++) {
		unsigned c = roll(&random, CLIENTS);
		if (channels[c] != NULL) {
			leave(c);
		} else {
			come(&random, c, step);
			granted += channels[c] != NULL;
			refused += channels[c] == NULL;
		}
		model_check();
	}
	assert_true(granted > 500 && refused > 500);
	for (unsigned c = 0; c < CLIENTS; c++)
		if (channels[c] != NULL)
			leave(c);
}

/* ---- look-ups while tables change ---- */

static atomic_bool quit;

static void *look(void *arg)
{
	uint32_t v = (uint32_t)(uintptr_t)arg;
	uintptr_t broken = 0;

	for (uint64_t n = 0; !atomic_load(&quit); n++) {
		uint64_t a = n % 64;
		const struct claim *c = claims_find(&claims, &holds[v], v, KVMCPU_SPACE_MMIO, a);
		if (c == NULL || a < c->first || a > c->last || strcmp(c->name, "range") != 0 ||
		    (c->channel != NULL && c->channel->client_id != c->client_id))
			broken++;
		else
			atomic_fetch_add(&c->figures->reads, 1);
		if (n % 3 == 0)
			claims_release(&holds[v]);
	}
	claims_release(&holds[v]);
	return (void *)broken;
}

static void test_lookups_race_changes(void **state)
{
	pthread_t threads[2];
	struct kvmcpu_claim halves[] = {range(0, 31), range(32, 63)};
	struct channel *ch = client(1);
	void *broken;

	assert_int_equal(grant(ch, ALL, halves, 2, NULL), 0);
	atomic_store(&quit, false);
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look, (void *)i), 0);
	for (uint32_t id = 2; id < 5000; id++) {
		go(ch);
		ch = client(id);
		halves[0].last = id % 63;
		halves[1].first = halves[0].last + 1;
		assert_int_equal(grant(ch, ALL, halves, 2, NULL), 0);
	}
	atomic_store(&quit, true);
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], &broken);
		assert_null(broken);
	}
	claims_collect(&claims);
	assert_null(claims.retired);
	go(ch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_model, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_lookups_race_changes, setup, teardown),
	};

	return cmocka_run_group_tests_name("claim_model", tests, NULL, NULL);
}
