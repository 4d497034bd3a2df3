/* SPDX-License-Identifier: MIT
 *
 * The broadcast ring: a reader sees whole records in order, or is told exactly
 * which it has missed. Each record's bytes follow from its number, so a record
 * that the writer had begun to overwrite would show.
 */
#include "config.h"

#include "ring.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RING_BYTES = 4096, RECORDS = 200000 };

/* Sizes that end at every place within a word, the largest among them. */
static size_t size_of(uint64_t seq)
{
	return seq % 97 == 0 ? RING_BYTES / 4 : seq * 7 % 61;
}

static uint8_t byte_of(uint64_t seq, size_t i)
{
	return (uint8_t)(seq * 31 + i * 7 + (seq >> 8));
}

static struct ring_tag tag_of(uint64_t seq)
{
	return (struct ring_tag){seq * 0x100000001ull, (uint32_t)(seq % 25), (uint32_t)(seq % 6)};
}

static int write_next(struct ring *r)
{
	uint8_t data[RING_BYTES / 4];
	uint64_t seq = ring_next_seq(r);
	struct ring_tag tag = tag_of(seq);

	for (size_t i = 0; i < size_of(seq); i++)
		data[i] = byte_of(seq, i);
	return ring_write(r, &tag, data, size_of(seq));
}

static bool is_whole(uint64_t seq, const struct ring_tag *tag, const uint8_t *data, size_t size)
{
	struct ring_tag want = tag_of(seq);

	if (size != size_of(seq) || tag->address != want.address || tag->kind != want.kind ||
	    tag->space != want.space)
		return false;
	for (size_t i = 0; i < size; i++)
		if (data[i] != byte_of(seq, i))
			return false;
	return true;
}

/* What a reader has seen. */
struct tally {
	uint64_t next; /* the number that must come */
	uint64_t records, lost, losses;
	bool broken;
};

/* One ring_read. Returns whether there was anything. */
static bool read_next(const struct ring *r, struct ring_cursor *c, struct tally *t)
{
	uint8_t data[RING_BYTES / 4];
	struct ring_tag tag;
	uint64_t seq = 0;
	size_t size = 0;
	int got = ring_read(r, c, data, &seq, &tag, &size);

	if (got == 0)
		return false;
	if (seq != t->next)
		t->broken = true;
	if (got == 1) {
		t->broken |= !is_whole(seq, &tag, data, size);
		t->next = seq + 1;
		t->records++;
	} else {
		t->broken |= size == 0;
		t->next = seq + size;
		t->lost += size;
		t->losses++;
	}
	return true;
}

static int setup(void **state)
{
	struct ring *r = malloc(sizeof(*r));

	*state = r;
	return ring_init(r, RING_BYTES);
}

static int teardown(void **state)
{
	ring_free(*state);
	free(*state);
	return 0;
}

static void test_in_step(void **state)
{
	struct ring *r = *state;
	struct ring_cursor c;
	struct tally t = {.next = 1};

	ring_cursor_init(r, &c);
	assert_false(read_next(r, &c, &t));
	for (int i = 1; i <= 5000; i++) {
		write_next(r);
		assert_true(read_next(r, &c, &t));
		assert_false(read_next(r, &c, &t));
	}
	assert_false(t.broken);
	assert_int_equal(t.records, 5000);
	assert_int_equal(t.lost, 0);
}

/* After n records unread, what is still there and what is told as lost are n
 * together, for every n up to several rounds of the ring. */
static void test_overtaken(void **state)
{
	for (uint64_t n = 1; n <= 500; n++) {
		struct ring r;
		struct ring_cursor c;
		struct tally t = {.next = 1};
		assert_int_equal(ring_init(&r, RING_BYTES), 0);
		ring_cursor_init(&r, &c);
		for (uint64_t i = 0; i < n; i++)
			write_next(&r);
		while (read_next(&r, &c, &t))
			;
		assert_false(t.broken);
		assert_int_equal(t.records + t.lost, n);
		assert_true(t.records > 0);
		assert_true(t.losses <= 1);
		if (n > 200)
			assert_true(t.lost > 0);
		ring_free(&r);
	}
}

static void test_late_readers(void **state)
{
	struct ring *r = *state;

	for (uint64_t written = 0; written < 300; written++) {
		struct ring_cursor c;
		struct tally t = {.next = written + 1};
		ring_cursor_init(r, &c);
		assert_false(read_next(r, &c, &t));
		write_next(r);
		assert_true(read_next(r, &c, &t));
		assert_false(t.broken);
		assert_int_equal(t.records, 1);
	}
}

/* One that is overtaken before its first record has missed none from before it. */
static void test_late_and_overtaken(void **state)
{
	struct ring *r = *state;
	uint64_t lost = 0;

	for (uint64_t written = 0; written < 30000; written += 300) {
		struct ring_cursor c;
		struct tally t = {.next = written + 1};
		ring_cursor_init(r, &c);
		for (int i = 0; i < 300; i++)
			write_next(r);
		while (read_next(r, &c, &t))
			;
		assert_false(t.broken);
		assert_int_equal(t.records + t.lost, 300);
		lost += t.lost;
	}
	assert_true(lost > 0);
}

/* It goes off once, when half the ring beyond the cursor is written. */
static void test_alarm(void **state)
{
	struct ring *r = *state;
	struct ring_cursor c;
	uint64_t start;

	ring_cursor_init(r, &c);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(write_next(r), 0);
	ring_cursor_init(r, &c);
	ring_set_alarm(r, &c);
	start = c.pos;
	while (write_next(r) == 0) {
		ring_cursor_init(r, &c);
		assert_true(c.pos - start < RING_BYTES / 2);
	}
	ring_cursor_init(r, &c);
	assert_true(c.pos - start >= RING_BYTES / 2);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(write_next(r), 0);
	ring_set_alarm(r, &c);
	ring_clear_alarm(r);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(write_next(r), 0);
}

struct race {
	struct ring ring;
	atomic_bool done;
	atomic_int readers;   /* that have their cursors */
	unsigned pause_every; /* a reader yields after so many records; 0: never */
	struct tally tally[2];
};

static void *reader(void *arg)
{
	struct race *race = arg;
	int index = atomic_load(&race->readers);
	struct tally *t = &race->tally[index];
	struct ring_cursor c;
	bool done = false;

	*t = (struct tally){.next = 1};
	ring_cursor_init(&race->ring, &c);
	atomic_fetch_add(&race->readers, 1);
	while (!done) {
		done = atomic_load(&race->done); /* and then reads what is left */
		while (read_next(&race->ring, &c, t))
			if (race->pause_every && (t->records + t->losses) % race->pause_every == 0)
				sched_yield();
	}
	return NULL;
}

/* A writer at full speed and two readers: none waits for another. */
static void run_race(unsigned pause_every, unsigned yield_every)
{
	struct race *race = calloc(1, sizeof(*race));
	pthread_t threads[2];

	race->pause_every = pause_every;
	assert_int_equal(ring_init(&race->ring, RING_BYTES), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, reader, race), 0);
		while (atomic_load(&race->readers) <= i)
			sched_yield();
	}
	for (unsigned i = 0; i < RECORDS; i++) {
		write_next(&race->ring);
		if (yield_every && i % yield_every == 0)
			sched_yield();
	}
	atomic_store(&race->done, true);
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_false(race->tally[i].broken);
		assert_int_equal(race->tally[i].records + race->tally[i].lost, RECORDS);
		assert_true(race->tally[i].records > 0);
	}
	ring_free(&race->ring);
	free(race);
}

static void test_race(void **state)
{
	run_race(0, 0);
}

static void test_race_with_a_slow_reader(void **state)
{
	run_race(3, 0);
}

static void test_race_with_a_slow_writer(void **state)
{
	run_race(0, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_in_step, setup, teardown),
	    cmocka_unit_test(test_overtaken),
	    cmocka_unit_test_setup_teardown(test_late_readers, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_late_and_overtaken, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_alarm, setup, teardown),
	    cmocka_unit_test(test_race),
	    cmocka_unit_test(test_race_with_a_slow_reader),
	    cmocka_unit_test(test_race_with_a_slow_writer),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
