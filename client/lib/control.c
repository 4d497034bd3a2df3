/* SPDX-License-Identifier: MIT
 *
 * A control connection: every call is one request and the wait for its answer.
 * The answer is unpacked into an arena that the next call takes back. A failure
 * on the way (no answer in time, senseless bytes) leaves it open which answer
 * belongs to which request, so the connection is of no more use after it.
 */
#include "config.h"

#include "kvmcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"

/* The answer of 1 MiB whose parts grow most when unpacked: a list of claims. */
#define ANSWER_ARENA_LIMIT (64u << 20)
#define DEFAULT_PAUSE_MS 1000 /* the schema's, for timeout_ms 0 */

int kvmcpu_control_new(const struct kvmcpu_control_options *options, struct kvmcpu_control **ret,
		       struct kvmcpu_error *err)
{
	struct kvmcpu_hello hello = {.role = KVMCPU_ROLE_CONTROL};
	struct kvmcpu_control *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return conn_refuse(err, -ENOMEM, "no memory for a control connection");
	codec_arena_growing(&c->arena, ANSWER_ARENA_LIMIT);
	conn_init(&c->conn);
	r = conn_open(&c->conn, &options->peer, "control.sock", KVMCPU_CONTROL_FRAME_MAX, &hello,
		      err);
	if (r < 0) {
		kvmcpu_control_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void kvmcpu_control_free(struct kvmcpu_control *c)
{
	if (c == NULL)
		return;
	conn_close(&c->conn);
	codec_arena_free(&c->arena);
	free(c);
}

int kvmcpu_control_fd(const struct kvmcpu_control *c)
{
	return c->conn.fd;
}

const struct kvmcpu_hello_reply *kvmcpu_control_hello(const struct kvmcpu_control *c)
{
	return &c->conn.hello;
}

const char *kvmcpu_control_error(const struct kvmcpu_control *c)
{
	return c->conn.error;
}

enum kvmcpu_error_code kvmcpu_control_error_code(const struct kvmcpu_control *c)
{
	return c->response.error.code;
}

const void *kvmcpu_control_response(const struct kvmcpu_control *c, size_t *ret_size)
{
	if (c->raw != NULL)
		*ret_size = c->raw_size;
	return c->raw;
}

/* ---- one call ---- */

static int send_request(struct kvmcpu_control *c, struct kvmcpu_request *q, uint64_t deadline_ns)
{
	int n;

	q->id = ++c->last_id;
	n = codec_pack_request(q, conn_body(&c->conn), c->conn.frame_max);
	if (n == -ENOSPC)
		return conn_fail(&c->conn, -EINVAL,
				 "the request is longer than a frame of %zu bytes",
				 c->conn.frame_max);
	if (n < 0)
		return conn_fail(&c->conn, -EINVAL, "the request cannot be encoded");
	n = conn_send(&c->conn, (size_t)n, deadline_ns);
	c->broken = n < 0;
	return n;
}

static int receive_answer(struct kvmcpu_control *c, uint64_t deadline_ns)
{
	int r;

	do
		r = conn_frame(&c->conn, deadline_ns, &c->raw, &c->raw_size);
	while (r == -EINTR);
	if (r == -EAGAIN)
		return conn_fail(&c->conn, -ETIMEDOUT, "the daemon did not answer in time");
	return r == KVMCPU_END ? -ECONNRESET : r;
}

static int take_answer(struct kvmcpu_control *c, uint64_t id)
{
	struct codec_error why;
	int r = codec_unpack_response(c->raw, c->raw_size, &c->arena, &c->response, &why);

	if (r < 0)
		return conn_fail(&c->conn, r == -ENOMEM ? r : -EPROTO,
				 "the daemon's answer makes no sense: %s", why.text);
	if (c->response.id != id)
		return conn_fail(&c->conn, -EPROTO,
				 "the daemon answered request %llu instead of %llu",
				 (unsigned long long)c->response.id, (unsigned long long)id);
	return 0;
}

static int refusal(struct kvmcpu_control *c)
{
	static const int errors[] = {
	    [KVMCPU_ERROR_INVALID] = -EINVAL,	      [KVMCPU_ERROR_RANGE] = -ERANGE,
	    [KVMCPU_ERROR_UNSUPPORTED] = -EOPNOTSUPP, [KVMCPU_ERROR_SYSTEM] = -EIO,
	    [KVMCPU_ERROR_TIMEOUT] = -EBUSY,	      [KVMCPU_ERROR_STATE] = -EBUSY,
	};
	const char *message = c->response.error.message;
	size_t code = (size_t)c->response.error.code;
	int r =
	    code < sizeof(errors) / sizeof(errors[0]) && errors[code] != 0 ? errors[code] : -EIO;

	return conn_fail(&c->conn, r, "%s",
			 message != NULL && message[0] != '\0'
			     ? message
			     : "the daemon refused without a reason");
}

static int exchange(struct kvmcpu_control *c, struct kvmcpu_request *q, uint64_t deadline_ns)
{
	int r = send_request(c, q, deadline_ns);

	if (r < 0)
		return r;
	r = receive_answer(c, deadline_ns);
	if (r == 0)
		r = take_answer(c, q->id);
	c->broken = r < 0;
	return r;
}

int control_call(struct kvmcpu_control *c, struct kvmcpu_request *q, enum kvmcpu_result wanted,
		 uint64_t extra_ns)
{
	uint64_t deadline_ns = conn_deadline(c->conn.timeout_ns);
	int r;

	if (c->broken)
		return conn_fail(&c->conn, -ENOTCONN,
				 "this connection has failed before: connect again");
	deadline_ns = deadline_ns < UINT64_MAX - extra_ns ? deadline_ns + extra_ns : UINT64_MAX;
	codec_arena_reset(&c->arena);
	memset(&c->response, 0, sizeof(c->response));
	c->raw = NULL;
	r = exchange(c, q, deadline_ns);
	if (r < 0)
		return r;
	if (c->response.error.code != KVMCPU_ERROR_NONE)
		return refusal(c);
	if (c->response.result != wanted) {
		c->broken = true;
		return conn_fail(&c->conn, -EPROTO,
				 "the daemon answered with another result (%d, not %d)",
				 c->response.result, wanted);
	}
	return 0;
}

/* ---- the calls ---- */

int kvmcpu_control_ping(struct kvmcpu_control *c)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_PING};

	return control_call(c, &q, KVMCPU_RESULT_DONE, 0);
}

static int status_call(struct kvmcpu_control *c, struct kvmcpu_request *q, uint64_t extra_ns,
		       const struct kvmcpu_status **ret)
{
	int r = control_call(c, q, KVMCPU_RESULT_STATUS, extra_ns);

	if (r == 0)
		*ret = &c->response.status;
	return r;
}

int kvmcpu_control_status(struct kvmcpu_control *c, const struct kvmcpu_status **ret)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_STATUS};

	return status_call(c, &q, 0, ret);
}

int kvmcpu_control_pause(struct kvmcpu_control *c, uint64_t vcpu_mask, uint32_t timeout_ms,
			 const struct kvmcpu_status **ret)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_PAUSE};
	uint32_t wait_ms = timeout_ms != 0 ? timeout_ms : DEFAULT_PAUSE_MS;

	q.pause.vcpu_mask = vcpu_mask;
	q.pause.timeout_ms = timeout_ms;
	return status_call(c, &q, wait_ms * 1000000ull, ret);
}

int kvmcpu_control_resume(struct kvmcpu_control *c, uint64_t vcpu_mask,
			  const struct kvmcpu_status **ret)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_RESUME};

	q.pause.vcpu_mask = vcpu_mask;
	return status_call(c, &q, 0, ret);
}

static int run_call(struct kvmcpu_control *c, struct kvmcpu_request *q,
		    const struct kvmcpu_run_result **ret)
{
	int r = control_call(c, q, KVMCPU_RESULT_RUNS, UINT64_MAX);

	if (r == 0)
		*ret = &c->response.runs;
	return r;
}

int kvmcpu_control_run(struct kvmcpu_control *c, const struct kvmcpu_run_options *options,
		       const struct kvmcpu_run_result **ret)
{
	static const struct kvmcpu_run_result none;
	struct kvmcpu_request q = {.call = KVMCPU_CALL_RUN};
	int r;

	q.run.vcpu_mask = options->vcpu_mask;
	q.run.ticks = options->ticks;
	q.run.advance_to_tick = options->advance_to_tick;
	q.run.stop_at_exit = options->stop_at_exit;
	q.run.async = options->async;
	q.run.instructions = options->instructions;
	if (!options->async)
		return run_call(c, &q, ret);
	r = control_call(c, &q, KVMCPU_RESULT_DONE, 0);
	if (r == 0)
		*ret = &none;
	return r;
}

int kvmcpu_control_wait_run(struct kvmcpu_control *c, uint64_t vcpu_mask,
			    const struct kvmcpu_run_result **ret)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_WAIT_RUN};

	q.run.vcpu_mask = vcpu_mask;
	return run_call(c, &q, ret);
}

int kvmcpu_control_cancel_run(struct kvmcpu_control *c, uint64_t vcpu_mask)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_CANCEL_RUN};

	q.run.vcpu_mask = vcpu_mask;
	return control_call(c, &q, KVMCPU_RESULT_DONE, 0);
}

int kvmcpu_control_stop(struct kvmcpu_control *c, uint32_t code, const char *reason)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_STOP};

	q.stop.code = code;
	q.stop.reason = reason;
	return control_call(c, &q, KVMCPU_RESULT_DONE, 0);
}

int kvmcpu_control_stats(struct kvmcpu_control *c, const struct kvmcpu_stats **ret)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_STATS};
	int r = control_call(c, &q, KVMCPU_RESULT_STATS, 0);

	if (r == 0)
		*ret = &c->response.stats;
	return r;
}

int kvmcpu_control_dump(struct kvmcpu_control *c, uint32_t vcpu, const struct kvmcpu_dump **ret)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_DUMP};
	int r;

	q.dump.vcpu = vcpu;
	r = control_call(c, &q, KVMCPU_RESULT_DUMP, 0);
	if (r == 0)
		*ret = &c->response.dump;
	return r;
}

int kvmcpu_control_clients(struct kvmcpu_control *c, const struct kvmcpu_client_list **ret)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_CLIENTS};
	int r = control_call(c, &q, KVMCPU_RESULT_CLIENTS, 0);

	if (r == 0)
		*ret = &c->response.clients;
	return r;
}

int kvmcpu_control_schema(struct kvmcpu_control *c, const void **ret, size_t *ret_size)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_SCHEMA};
	int r = control_call(c, &q, KVMCPU_RESULT_SCHEMA, 0);

	if (r == 0) {
		*ret = c->response.schema.data;
		*ret_size = c->response.schema.size;
	}
	return r;
}

int kvmcpu_control_effect(struct kvmcpu_control *c, const struct kvmcpu_effect *effect)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_EFFECT, .effect = *effect};

	return control_call(c, &q, KVMCPU_RESULT_DONE, 0);
}
