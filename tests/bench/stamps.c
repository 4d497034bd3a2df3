/* SPDX-License-Identifier: MIT
 *
 * Nothing here may cost anything while it is measured: adding a moment is a
 * store to a page that is there already.
 */
#include "config.h"

#include "stamps.h"

#include <err.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void stamps_init(struct stamps *s, size_t max)
{
	s->at = malloc(max * sizeof(*s->at));
	if (s->at == NULL)
		err(1, "%zu moments", max);
	memset(s->at, 1, max * sizeof(*s->at));
	s->n = 0;
	s->max = max;
}

int stamps_add(struct stamps *s, uint64_t ns)
{
	s->at[s->n++] = ns;
	return s->n < s->max;
}

int stamps_write(struct stamps *s)
{
	const char *p = (const char *)s->at;
	size_t left = s->n * sizeof(*s->at);
	ssize_t n = 0;

	for (; left > 0; p += n, left -= (size_t)n) {
		n = write(STDOUT_FILENO, p, left);
		if (n < 0) {
			warn("standard output");
			break;
		}
	}
	free(s->at);
	return n < 0;
}

uint64_t stamps_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void stamps_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		err(1, "CPU %d", cpu);
}
