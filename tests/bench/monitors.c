/* SPDX-License-Identifier: MIT
 *
 * Attaches as many monitors as asked for, one after another in one process, and
 * reads them all until standard input ends. Of each it follows the events'
 * numbers: those that neither came nor were reported lost are counted as
 * missing, and there must be none.
 */
#include "config.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <kvmcpu/kvmcpu.h>

#include "stamps.h"

#define MAX_MONITORS 64

struct watcher {
	struct kvmcpu_monitor *monitor;
	uint64_t next[KVMCPU_MAX_VCPUS]; /* the event expected; 0 before the first */
	uint64_t events, lost, missing;
};

static struct watcher watchers[MAX_MONITORS];

static int note(void *arg, const struct kvmcpu_event *event)
{
	struct watcher *w = arg;
	uint64_t count = event->kind == KVMCPU_EVENT_LOSS ? event->loss.count : 1;
	uint64_t *next = &w->next[event->vcpu];

	if (*next != 0 && event->seq != *next)
		w->missing += event->seq > *next ? event->seq - *next : *next - event->seq;
	*next = event->seq + count;
	if (event->kind == KVMCPU_EVENT_LOSS)
		w->lost += count;
	else
		w->events++;
	return 0;
}

static void attach(struct watcher *w, char **argv)
{
	struct kvmcpu_monitor_options options = {.peer = {.runtime_dir = argv[3], .vm = argv[4]}};
	struct kvmcpu_error error;

	if (kvmcpu_monitor_new(&options, &w->monitor, &error) < 0)
		errx(1, "%s", error.text);
}

/* Serves what is there. False when standard input has ended. */
static bool serve(struct pollfd *polls, unsigned n)
{
	int r = poll(polls, n + 1, -1);

	if (r < 0 && errno != EINTR)
		err(1, "poll");
	for (unsigned i = 0; r > 0 && i < n; i++)
		if (polls[i].revents != 0 &&
		    kvmcpu_monitor_dispatch(watchers[i].monitor, note, &watchers[i]) != 0)
			errx(1, "%s", kvmcpu_monitor_error(watchers[i].monitor));
	return r <= 0 || polls[n].revents == 0;
}

int main(int argc, char **argv)
{
	struct pollfd polls[MAX_MONITORS + 1];
	uint64_t events = 0, lost = 0, missing = 0;
	unsigned n;

	if (argc != 5)
		errx(64, "usage: monitors CPU COUNT RUNTIME-DIR VM");
	stamps_pin(atoi(argv[1]));
	n = (unsigned)strtoul(argv[2], NULL, 0);
	if (n == 0 || n > MAX_MONITORS)
		errx(64, "1 to %d monitors", MAX_MONITORS);
	for (unsigned i = 0; i < n; i++) {
		attach(&watchers[i], argv);
		polls[i].fd = kvmcpu_monitor_fd(watchers[i].monitor);
		polls[i].events = POLLIN;
	}
	polls[n] = (struct pollfd){.fd = 0, .events = POLLIN};
	fputs("ready\n", stderr);
	while (serve(polls, n))
		;
	for (unsigned i = 0; i < n; i++) {
		events += watchers[i].events;
		lost += watchers[i].lost;
		missing += watchers[i].missing;
	}
	printf("{\"events\": %llu, \"lost\": %llu, \"missing\": %llu}\n",
	       (unsigned long long)events, (unsigned long long)lost, (unsigned long long)missing);
	return 0;
}
