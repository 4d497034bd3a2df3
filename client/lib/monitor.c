/* SPDX-License-Identifier: MIT
 *
 * A monitor's stream: the daemon sends batches of events, the caller takes them
 * one by one. A batch is unpacked into an arena that the next batch takes back,
 * and its bytes stay in the connection's buffer until then.
 */
#include "config.h"

#include "kvmcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"

/* An Event of a few bytes becomes a structure of some hundreds. */
#define BATCH_ARENA_LIMIT (256u << 20)

struct kvmcpu_monitor {
	struct conn conn;
	struct codec_arena arena;
	struct kvmcpu_event *events; /* in arena */
	size_t n_events, next;
	const uint8_t *raw; /* in conn.in */
	size_t raw_size;
	int ended; /* KVMCPU_END or an error: what every later call returns */
};

int kvmcpu_monitor_new(const struct kvmcpu_monitor_options *options, struct kvmcpu_monitor **ret,
		       struct kvmcpu_error *err)
{
	struct kvmcpu_hello hello = {.role = KVMCPU_ROLE_MONITOR};
	struct kvmcpu_monitor *m;
	int r;

	if (options->filter != NULL && options->filter->n_ranges > KVMCPU_MAX_FILTER)
		return conn_refuse(err, -EINVAL,
				   "the filter has too many ranges: give fewer, wider ones");
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return conn_refuse(err, -ENOMEM, "no memory for a monitor");
	codec_arena_growing(&m->arena, BATCH_ARENA_LIMIT);
	conn_init(&m->conn);
	if (options->filter != NULL)
		hello.monitor.filter = *options->filter;
	hello.monitor.want_memory = options->want_memory;
	r = conn_open(&m->conn, &options->peer, "monitor.sock", KVMCPU_CONTROL_FRAME_MAX, &hello,
		      err);
	if (r < 0) {
		kvmcpu_monitor_free(m);
		return r;
	}
	m->conn.takes_fd = false;
	*ret = m;
	return 0;
}

void kvmcpu_monitor_free(struct kvmcpu_monitor *m)
{
	if (m == NULL)
		return;
	conn_close(&m->conn);
	codec_arena_free(&m->arena);
	free(m);
}

int kvmcpu_monitor_fd(const struct kvmcpu_monitor *m)
{
	return m->conn.fd;
}

const struct kvmcpu_hello_reply *kvmcpu_monitor_hello(const struct kvmcpu_monitor *m)
{
	return &m->conn.hello;
}

const char *kvmcpu_monitor_error(const struct kvmcpu_monitor *m)
{
	return m->conn.error;
}

size_t kvmcpu_monitor_pending(const struct kvmcpu_monitor *m)
{
	return m->n_events - m->next;
}

const void *kvmcpu_monitor_batch(const struct kvmcpu_monitor *m, size_t *ret_size)
{
	if (m->raw != NULL)
		*ret_size = m->raw_size;
	return m->raw;
}

static int take_batch(struct kvmcpu_monitor *m, uint64_t deadline_ns)
{
	struct codec_error why;
	const uint8_t *msg;
	size_t size;
	int r = conn_frame(&m->conn, deadline_ns, &msg, &size);

	if (r == -EAGAIN || r == -EINTR)
		return r;
	codec_arena_reset(&m->arena);
	m->n_events = m->next = 0;
	m->raw = NULL;
	if (r == 0) {
		r = codec_unpack_batch(msg, size, &m->arena, &m->events, &m->n_events, &why);
		if (r < 0)
			r = conn_fail(&m->conn, r == -ENOMEM ? r : -EPROTO,
				      "the daemon sent no valid batch of events: %s", why.text);
	}
	if (r == 0) {
		m->raw = msg;
		m->raw_size = size;
	} else {
		m->n_events = 0;
		m->ended = r;
	}
	return r;
}

int kvmcpu_monitor_next(struct kvmcpu_monitor *m, uint64_t timeout_ns,
			const struct kvmcpu_event **ret_event)
{
	uint64_t deadline_ns;
	int r;

	if (m->next < m->n_events) {
		*ret_event = &m->events[m->next++];
		return 0;
	}
	if (m->ended != 0)
		return m->ended;
	deadline_ns = conn_deadline(timeout_ns);
	do {
		r = take_batch(m, deadline_ns);
		if (r != 0)
			return r;
	} while (m->n_events == 0);
	*ret_event = &m->events[m->next++];
	return 0;
}

int kvmcpu_monitor_dispatch(struct kvmcpu_monitor *m, kvmcpu_monitor_handler handler, void *arg)
{
	const struct kvmcpu_event *event;
	int r;

	do {
		r = kvmcpu_monitor_next(m, 0, &event);
		if (r == 0)
			r = handler(arg, event);
	} while (r == 0);
	return r == -EAGAIN ? 0 : r;
}

int kvmcpu_monitor_set_filter(struct kvmcpu_monitor *m, const struct kvmcpu_filter *filter)
{
	static const struct kvmcpu_filter everything;
	int n;

	if (filter == NULL)
		filter = &everything;
	if (filter->n_ranges > KVMCPU_MAX_FILTER)
		return conn_fail(&m->conn, -EINVAL, "a filter has at most %d ranges",
				 KVMCPU_MAX_FILTER);
	n = codec_pack_filter(filter, conn_body(&m->conn), m->conn.frame_max);
	if (n < 0)
		return conn_fail(&m->conn, -EINVAL, "the filter cannot be encoded");
	return conn_send(&m->conn, (size_t)n, UINT64_MAX);
}

int kvmcpu_monitor_memory(const struct kvmcpu_monitor *m, const struct kvmcpu_memory_map **ret,
			  int *ret_fd)
{
	if (!m->conn.hello.has_memory || m->conn.passed_fd < 0)
		return -EOPNOTSUPP;
	*ret = &m->conn.hello.memory;
	*ret_fd = m->conn.passed_fd;
	return 0;
}
