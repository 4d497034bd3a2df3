/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl monitor: one line per event as it comes, until the VM ends, the
 * count is reached or a signal says so. With --json a line is one object: an
 * element of a batch's events or losses.
 */
#include "config.h"

#include "ctl.h"
#include "out.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "codec.h"
#include "json.h"

enum { OPTION_VCPU = 1, OPTION_KIND, OPTION_RANGE, OPTION_NO_STATES };

static struct {
	struct kvmcpu_filter filter;
	uint64_t count; /* 0: without end */
} want;

static volatile sig_atomic_t interrupted;

static const struct option longs[] = {
    {"vcpu", required_argument, NULL, OPTION_VCPU},
    {"kind", required_argument, NULL, OPTION_KIND},
    {"range", required_argument, NULL, OPTION_RANGE},
    {"no-states", no_argument, NULL, OPTION_NO_STATES},
    {"count", required_argument, NULL, 'n'},
    {NULL, 0, NULL, 0},
};

/* ---- the filter ---- */

static int take_kind(const char *value)
{
	const char *names[32];
	enum kvmcpu_exit_kind kind = codec_kind_by_name(value);
	char near[128];
	size_t i, n = 0;

	if (kind != KVMCPU_EXIT_NONE && kind != KVMCPU_EXIT_NOTICE) {
		want.filter.kind_mask |= 1u << kind;
		return 0;
	}
	for (i = KVMCPU_EXIT_PIO; i <= KVMCPU_EXIT_UNKNOWN; i++)
		if (codec_kind_name((enum kvmcpu_exit_kind)i)[0] != '?')
			names[n++] = codec_kind_name((enum kvmcpu_exit_kind)i);
	ctl_suggest(value, names, n, near, sizeof(near));
	return ctl_error(CTL_USAGE, "--kind '%s' is no kind of exit%s; kvmcpuctl(1) lists them",
			 value, near);
}

/* "pio:0x3f8-0x3ff" or "mmio:0xfed00000" */
static int take_range(const char *value)
{
	struct kvmcpu_range *r = &want.filter.ranges[want.filter.n_ranges];
	char text[96], *first, *last;

	snprintf(text, sizeof(text), "%s", value);
	first = strchr(text, ':');
	if (strlen(value) >= sizeof(text) || first == NULL)
		return ctl_error(CTL_USAGE,
				 "--range '%s' is no range: give it as in "
				 "pio:0x3f8-0x3ff",
				 value);
	if (want.filter.n_ranges == KVMCPU_MAX_FILTER)
		return ctl_error(CTL_USAGE, "--range is given too often: at most %d times",
				 KVMCPU_MAX_FILTER);
	*first++ = '\0';
	last = strchr(first, '-');
	if (last != NULL)
		*last++ = '\0';
	r->space = codec_space_by_name(text);
	if (r->space == 0 || r->space == KVMCPU_SPACE_HALT)
		return ctl_error(CTL_USAGE,
				 "--range '%s': '%s' is no space; give pio, mmio, "
				 "hypercall or msr",
				 value, text);
	if (parse_number("--range", first, UINT64_MAX, &r->first) != 0 ||
	    parse_number("--range", last != NULL ? last : first, UINT64_MAX, &r->last) != 0)
		return CTL_USAGE;
	if (r->first > r->last)
		return ctl_error(CTL_USAGE, "--range '%s' ends before it begins", value);
	want.filter.n_ranges++;
	return 0;
}

static int take_option(int option, const char *value)
{
	switch (option) {
	case OPTION_VCPU:
		return parse_vcpus(value, &want.filter.vcpu_mask);
	case OPTION_KIND:
		return take_kind(value);
	case OPTION_RANGE:
		return take_range(value);
	case OPTION_NO_STATES:
		want.filter.no_states = true;
		return 0;
	default:
		return parse_number("-n", value, UINT64_MAX, &want.count);
	}
}

/* ---- the stream ---- */

/* The lines of one list of the batch, at most left of them; how many. */
static uint64_t print_list(struct json_object *batch, const char *name, uint64_t left)
{
	struct json_object *list;
	uint64_t i;

	if (!json_object_object_get_ex(batch, name, &list))
		return 0;
	for (i = 0; i < left && i < json_object_array_length(list); i++)
		puts(json_object_to_json_string_ext(json_object_array_get_idx(list, i),
						    JSON_C_TO_STRING_PLAIN |
							JSON_C_TO_STRING_NOSLASHESCAPE));
	return i;
}

/* A whole batch, of which the first event has been taken; takes the others. */
static int print_batch(struct kvmcpu_monitor *m, uint64_t *left)
{
	const struct kvmcpu_event *e;
	struct json_object *batch;
	struct codec_error why;
	size_t size = 0;
	const void *raw = kvmcpu_monitor_batch(m, &size);

	batch = json_from_message(JSON_EVENT_BATCH, raw, size, &why);
	if (batch == NULL)
		return ctl_error(CTL_PROTOCOL, "an event cannot be shown as JSON: %s", why.text);
	*left -= print_list(batch, "events", *left);
	*left -= print_list(batch, "losses", *left);
	json_object_put(batch);
	while (kvmcpu_monitor_pending(m) > 0)
		kvmcpu_monitor_next(m, 0, &e);
	return CTL_OK;
}

static int watch(const struct ctl *ctl, struct kvmcpu_monitor *m)
{
	uint64_t left = want.count != 0 ? want.count : UINT64_MAX;
	const struct kvmcpu_event *e;
	int r, status = CTL_OK;

	while (left > 0 && !interrupted && status == CTL_OK) {
		r = kvmcpu_monitor_next(m, KVMCPU_FOREVER, &e);
		if (r == -EINTR)
			continue;
		if (r == KVMCPU_END)
			break;
		if (r < 0)
			return ctl_error(ctl_status_of(r), "%s", kvmcpu_monitor_error(m));
		if (ctl->json) {
			status = print_batch(m, &left);
		} else {
			out_event(e);
			left--;
		}
		if (ferror(stdout))
			break;
	}
	return status;
}

static void note_signal(int number)
{
	interrupted = 1;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	struct kvmcpu_monitor_options o = {.peer = ctl->peer, .filter = &want.filter};
	struct sigaction stop = {.sa_handler = note_signal}; /* interrupts the wait */
	struct kvmcpu_monitor *m;
	struct kvmcpu_error error;
	int r = kvmcpu_monitor_new(&o, &m, &error);

	if (r < 0)
		return ctl_error(r == -EINVAL ? CTL_USAGE : ctl_status_of(r), "%s", error.text);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	r = watch(ctl, m);
	kvmcpu_monitor_free(m);
	return r;
}

const struct command monitor_command = {
    .name = "monitor",
    .arguments = "",
    .summary = "Watches the VM, one line per exit",
    .details = "  --vcpu LIST        only these vCPUs, as in 0,2,5-7\n"
	       "  --kind KIND        only exits of this kind; may be repeated\n"
	       "  --range SPACE:FIRST[-LAST]\n"
	       "                     only exits there, as in pio:0x3f8-0x3ff; may be repeated\n"
	       "  --no-states        no changes of state\n"
	       "  -n, --count N      end after N lines\n",
    .shorts = "n:",
    .longs = longs,
    .option = take_option,
    .own_connection = true,
    .run = run,
};
