/* SPDX-License-Identifier: MIT
 *
 * A monitor reads the vCPUs' rings with cursors of its own, and only while its
 * socket takes bytes: when it does not, its cursors stand still, the rings go
 * on, and what passed it is counted when it comes back. Records in the rings are
 * packed events, so a batch is copies of them, one behind another.
 *
 * Pumping happens on a timer while there are monitors, and at once when a ring
 * is half full beyond the slowest cursor.
 */
#include "config.h"

#include "monitor.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "log.h"
#include "session.h"
#include "vcpu.h"
#include "vm.h"

#define BATCH_FULL (256u << 10) /* bytes; no further event is added beyond */
#define BATCH_MAX (BATCH_FULL + VCPU_RING_BYTES / 4 + 64)
static const struct timeval period = {.tv_usec = 5000}; /* what a person takes for at once */

struct monitor {
	struct kvmcpu_filter filter;
	struct event *timer; /* owned */
	struct ring_cursor cursors[KVMCPU_MAX_VCPUS];
};

/* L only: room for one record, and for one batch. */
static uint8_t record[VCPU_RING_BYTES / 4];
static uint8_t batch[BATCH_MAX];

static bool in_ranges(const struct kvmcpu_filter *f, const struct ring_tag *tag)
{
	for (size_t i = 0; i < f->n_ranges; i++)
		if (tag->space == (uint32_t)f->ranges[i].space &&
		    tag->address >= f->ranges[i].first && tag->address <= f->ranges[i].last)
			return true;
	return f->n_ranges == 0;
}

static bool wanted(const struct kvmcpu_filter *f, uint32_t vcpu, const struct ring_tag *tag)
{
	if (f->vcpu_mask != 0 && !(f->vcpu_mask >> vcpu & 1))
		return false;
	if (tag->kind == 0)
		return !f->no_states;
	if (f->kind_mask != 0 && !(f->kind_mask >> tag->kind & 1))
		return false;
	return in_ranges(f, tag);
}

static size_t put_loss(struct session *s, struct vcpu *v, uint64_t first, uint64_t count,
		       size_t used)
{
	int n = codec_put_batch_loss(v->index, first, count, batch + used, sizeof(batch) - used);

	s->lost += count;
	atomic_fetch_add_explicit(&v->stats.num_events_lost, count, memory_order_relaxed);
	return n > 0 ? used + (size_t)n : used;
}

/* Adds what is new in one ring to the batch. */
static size_t read_ring(struct session *s, struct vcpu *v, size_t used)
{
	struct monitor *m = s->monitor;
	struct ring_cursor *cursor = &m->cursors[v->index];
	struct ring_tag tag;
	uint64_t seq;
	size_t size;
	int r;

	while (used < BATCH_FULL &&
	       (r = ring_read(&v->ring, cursor, record, &seq, &tag, &size)) != 0) {
		if (r == 2) {
			used = put_loss(s, v, seq, size, used);
		} else if (wanted(&m->filter, v->index, &tag)) {
			int n =
			    codec_put_batch_event(record, size, batch + used, sizeof(batch) - used);
			used += n > 0 ? (size_t)n : 0;
			s->served++;
		}
	}
	return used;
}

/* One batch of what is new. Returns whether there may be more to send now; the
 * session may be gone if not. */
static bool pump_batch(struct session *s)
{
	struct vm *vm = s->loop->vm;
	size_t used = 0;

	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		used = read_ring(s, vm->vcpus[i], used);
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		ring_set_alarm(&vm->vcpus[i]->ring, &s->monitor->cursors[i]);
	return used > 0 && session_send(s, batch, used, -1) == 0 && used >= BATCH_FULL;
}

static void pump(struct session *s)
{
	while (session_queue_empty(s) && pump_batch(s))
		;
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	pump(arg);
}

void monitor_pump_all(struct loop *l)
{
	struct session *next;

	for (uint32_t i = 0; i < l->vm->n_vcpus; i++)
		ring_clear_alarm(&l->vm->vcpus[i]->ring);
	for (struct session *s = TAILQ_FIRST(&l->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->monitor != NULL)
			pump(s);
	}
}

static void set_filter(struct session *s, const struct kvmcpu_filter *f)
{
	s->monitor->filter = *f;
}

static int welcome(struct session *s, bool want_memory)
{
	struct kvmcpu_memory_map map;
	int fd = -1, r;

	if (!want_memory)
		return session_welcome(s, NULL, -1);
	vm_memory_map(s->loop->vm, &map);
	if (s->takes_descriptors)
		fd = memory_open_read_only(&s->loop->vm->memory);
	map.descriptor_follows = fd >= 0;
	r = session_welcome(s, &map, fd);
	if (fd >= 0)
		close(fd);
	return r;
}

static void monitor_greet(struct session *s, const struct kvmcpu_hello *hello)
{
	struct vm *vm = s->loop->vm;
	struct monitor *m = calloc(1, sizeof(*m));

	if (m == NULL ||
	    (m->timer = event_new(s->loop->base, -1, EV_PERSIST, on_time, s)) == NULL) {
		free(m);
		session_refuse(s, KVMCPU_HELLO_LIMIT, "the daemon has no memory left");
		return;
	}
	s->monitor = m;
	set_filter(s, &hello->monitor.filter);
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		ring_cursor_init(&vm->vcpus[i]->ring, &m->cursors[i]);
	event_add(m->timer, &period);
	(void)welcome(s, hello->monitor.want_memory);
}

static void monitor_frame(struct session *s, const uint8_t *data, size_t size)
{
	struct kvmcpu_filter f;
	struct codec_arena arena;
	struct codec_error err;
	int r;

	codec_arena_growing(&arena, 64u << 10);
	r = codec_unpack_filter(data, size, &f, &arena, &err);
	codec_arena_free(&arena);
	if (r == 0) {
		set_filter(s, &f);
		return;
	}
	session_cut_off(s, err.text);
}

static void monitor_ended(struct session *s)
{
	event_free(s->monitor->timer);
	free(s->monitor);
	s->monitor = NULL;
}

const struct role monitor_role = {
    .greet = monitor_greet,
    .frame = monitor_frame,
    .drained = pump,
    .ended = monitor_ended,
    .max_frame = KVMCPU_CONTROL_FRAME_MAX,
};
