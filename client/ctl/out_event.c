/* SPDX-License-Identifier: MIT
 *
 * One line per event, fields in a fixed order so that scripts can cut it:
 * seconds of CLOCK_MONOTONIC, vCPU, exit, kind, what was accessed; then, behind
 * an arrow, who answered what, at which cost and how fast.
 */
#include "config.h"

#include "out.h"

#include <stdio.h>

#include "codec.h"

#define SHOWN_BYTES 16 /* of longer data; picked, not tuned */

static void print_time(uint64_t ns)
{
	printf("%llu.%06llu", (unsigned long long)(ns / 1000000000),
	       (unsigned long long)(ns % 1000000000 / 1000));
}

static void print_bytes(const uint8_t *data, size_t size)
{
	size_t i;

	if (size == 0)
		return;
	putchar(' ');
	for (i = 0; i < size && i < SHOWN_BYTES; i++)
		printf("%02x", data[i]);
	if (size > SHOWN_BYTES)
		printf("...(%zu bytes)", size);
}

static void print_words(const uint64_t *words, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		printf(" %#llx", (unsigned long long)words[i]);
}

static void print_access(const struct kvmcpu_exit *x)
{
	printf(" %s %#llx size %u", x->direction == KVMCPU_READ ? "read" : "write",
	       (unsigned long long)x->address, x->size);
	if (x->count > 1)
		printf(" count %u", x->count);
	print_bytes(x->data, x->data_size);
}

static void print_details(const struct kvmcpu_exit *x)
{
	switch (x->kind) {
	case KVMCPU_EXIT_PIO:
	case KVMCPU_EXIT_MMIO:
	case KVMCPU_EXIT_MSR:
		print_access(x);
		break;
	case KVMCPU_EXIT_HYPERCALL:
		printf(" %llu", (unsigned long long)x->address);
		print_words(x->hypercall.args, 6);
		break;
	case KVMCPU_EXIT_SYSTEM_EVENT:
		printf(" type %u", x->system_event.type);
		print_words(x->system_event.data, x->system_event.n_data);
		break;
	case KVMCPU_EXIT_DEBUG:
		printf(" exception %u pc %#llx", x->debug.exception,
		       (unsigned long long)x->debug.pc);
		break;
	case KVMCPU_EXIT_FAIL_ENTRY:
		printf(" reason %#llx", (unsigned long long)x->fail_entry.hardware_reason);
		break;
	case KVMCPU_EXIT_INTERNAL_ERROR:
		printf(" suberror %u", x->internal_error.suberror);
		print_words(x->internal_error.data, x->internal_error.n_data);
		break;
	case KVMCPU_EXIT_EXCEPTION:
		printf(" vector %u error %#x", x->exception.vector, x->exception.error_code);
		break;
	case KVMCPU_EXIT_UNKNOWN:
		printf(" reason %u hardware %#llx", x->unknown.reason,
		       (unsigned long long)x->unknown.hardware_reason);
		break;
	default:
		break;
	}
}

static void print_answer(const struct kvmcpu_event *e)
{
	const struct kvmcpu_reply *r = &e->exit.reply;
	char time[OUT_TIME];
	uint64_t sent = e->exit.sent_after_ns, replied = e->exit.replied_after_ns;

	printf(" -> %s", codec_answerer_name(e->exit.answered_by));
	if (e->exit.client_id != 0)
		printf(" %u", e->exit.client_id);
	if (r->status == KVMCPU_REPLY_BUS_ERROR)
		fputs(" bus error", stdout);
	print_bytes(r->data, r->data_size);
	if (r->ticks > 0)
		printf(" ticks %llu", (unsigned long long)r->ticks);
	if (r->n_effects > 0)
		printf(" effects %zu", r->n_effects);
	if (replied > sent)
		printf(" in %s", out_time(time, replied - sent));
}

static void print_exit(const struct kvmcpu_event *e)
{
	const struct kvmcpu_exit *x = &e->exit.exit;

	print_time(x->left_ns);
	printf(" vcpu%u #%llu %s", e->vcpu, (unsigned long long)x->seq, codec_kind_name(x->kind));
	print_details(x);
	if (x->redelivered)
		fputs(" redelivered", stdout);
	print_answer(e);
	if (e->exit.dump != NULL)
		printf(" fatal: %s", e->exit.dump->cause != NULL ? e->exit.dump->cause : "?");
	putchar('\n');
}

static void print_state(const struct kvmcpu_event *e)
{
	const char *pause = e->state.paused ? " (paused)" : "";

	/* The pause alone has changed. */
	if (e->state.from == e->state.to && !e->state.paused)
		pause = " (resumed)";
	print_time(e->state.at_ns);
	printf(" vcpu%u state %s -> %s%s\n", e->vcpu, codec_state_name(e->state.from),
	       codec_state_name(e->state.to), pause);
}

void out_event(const struct kvmcpu_event *e)
{
	switch (e->kind) {
	case KVMCPU_EVENT_EXIT:
		print_exit(e);
		break;
	case KVMCPU_EVENT_STATE:
		print_state(e);
		break;
	case KVMCPU_EVENT_LOSS:
		printf("- vcpu%u lost %llu events from event %llu on: this reader was too slow\n",
		       e->vcpu, (unsigned long long)e->loss.count, (unsigned long long)e->seq);
		break;
	}
}
