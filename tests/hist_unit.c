/* SPDX-License-Identifier: MIT
 *
 * The histogram against a sorted array: whatever the values, a percentile is
 * the value of its rank or above it by at most a sixteenth, and what is exact
 * (count, sum, least, most) is exact.
 */
#include "config.h"

#include "hist.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MANY = 10000 };

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 11;
}

/* The smallest value that percent of the sorted ones do not exceed. */
static uint64_t exact(const uint64_t *sorted, size_t n, unsigned percent)
{
	size_t rank = (n * percent + 99) / 100;

	return sorted[rank > 0 ? rank - 1 : 0];
}

static void check_percentile(uint64_t got, uint64_t want, uint64_t most)
{
	assert_true(got >= want);
	if (want < 1ull << HIST_MAX_BITS)
		assert_true(got - want <= want / 16);
	assert_true(got <= most);
}

static void check_against(const struct hist *h, uint64_t *values, size_t n)
{
	struct kvmcpu_histogram s;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += values[i];
	qsort(values, n, sizeof(*values), by_value);
	hist_summary(h, &s);
	assert_int_equal(s.count, n);
	assert_int_equal(s.sum_ns, sum);
	assert_int_equal(s.min_ns, values[0]);
	assert_int_equal(s.max_ns, values[n - 1]);
	check_percentile(s.p50_ns, exact(values, n, 50), s.max_ns);
	check_percentile(s.p90_ns, exact(values, n, 90), s.max_ns);
	check_percentile(s.p99_ns, exact(values, n, 99), s.max_ns);
}

static void test_empty(void **state)
{
	static struct hist h;
	struct kvmcpu_histogram s, zero = {0};

	memset(&s, 0xff, sizeof(s));
	hist_summary(&h, &s);
	assert_int_equal(s.count, zero.count);
	assert_int_equal(s.sum_ns, 0);
	assert_int_equal(s.min_ns, 0);
	assert_int_equal(s.p99_ns, 0);
	assert_int_equal(s.max_ns, 0);
}

/* Every power of two and its neighbours, each alone. */
static void test_each_boundary(void **state)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		for (int beside = -1; beside <= 1; beside++) {
			static struct hist h;
			uint64_t value = (1ull << bit) + (uint64_t)(int64_t)beside;
			memset((void *)&h, 0, sizeof(h));
			hist_add(&h, value);
			check_against(&h, &value, 1);
		}
	}
}

static void test_distributions(void **state)
{
	static const uint64_t limits[] = {1, 2, 16, 17, 1000, 100000, 1ull << 36, 1ull << 37};
	uint64_t *values = malloc(MANY * sizeof(*values)), random = 1;

	for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
		for (size_t n = 1; n <= MANY; n = n * 3 + 1) {
			static struct hist h;
			memset((void *)&h, 0, sizeof(h));
			for (size_t i = 0; i < n; i++) {
				values[i] = next_random(&random) % limits[l];
				hist_add(&h, values[i]);
			}
			check_against(&h, values, n);
		}
	}
	free(values);
}

/* 99 of one value and one of another: the 99th percentile is the many's. */
static void test_one_in_a_hundred(void **state)
{
	static struct hist h;
	struct kvmcpu_histogram s;

	for (int i = 0; i < 99; i++)
		hist_add(&h, 10);
	hist_add(&h, 1000000);
	hist_summary(&h, &s);
	assert_int_equal(s.p50_ns, 10);
	assert_int_equal(s.p99_ns, 10);
	assert_int_equal(s.max_ns, 1000000);
	hist_add(&h, 1000000);
	hist_summary(&h, &s);
	assert_true(s.p99_ns > 900000);
}

static void *add_shared(void *arg)
{
	for (uint64_t i = 1; i <= MANY; i++)
		hist_add_shared(arg, i);
	return NULL;
}

static void test_shared_by_threads(void **state)
{
	static struct hist h;
	struct kvmcpu_histogram s, during;
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_shared, &h), 0);
	do
		hist_summary(&h, &during);
	while (during.count < MANY);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	hist_summary(&h, &s);
	assert_int_equal(s.count, 3 * MANY);
	assert_int_equal(s.sum_ns, 3ull * MANY * (MANY + 1) / 2);
	assert_int_equal(s.min_ns, 1);
	assert_int_equal(s.max_ns, MANY);
	check_percentile(s.p50_ns, MANY / 2, MANY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_each_boundary),
	    cmocka_unit_test(test_distributions),
	    cmocka_unit_test(test_one_in_a_hundred),
	    cmocka_unit_test(test_shared_by_threads),
	};

	return cmocka_run_group_tests_name("hist", tests, NULL, NULL);
}
