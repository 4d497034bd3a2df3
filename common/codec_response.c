/* SPDX-License-Identifier: MIT
 *
 * Response: a failure, or one of the results. A controller may be older than
 * the daemon, so numbers that it does not know are passed on as they are; only
 * an answer that says nothing at all is refused.
 */
#include "config.h"

#include "codec_internal.h"

#include <errno.h>

static void put_clients(struct wire *w, const struct kvmcpu_client_list *l)
{
	uint8_t *mark;

	for (size_t i = 0; i < l->n_clients; i++) {
		const struct kvmcpu_client_info *c = &l->clients[i];

		mark = wire_begin(w, 1);
		wire_uint(w, 1, c->client_id);
		wire_uint(w, 2, c->role);
		wire_string(w, 3, c->name);
		wire_uint(w, 4, c->pid);
		wire_uint(w, 5, c->uid);
		wire_uint(w, 6, c->connected_ns);
		wire_uint(w, 7, c->served);
		wire_uint(w, 8, c->lost);
		wire_end(w, mark);
	}
	for (size_t i = 0; i < l->n_claims; i++) {
		const struct kvmcpu_claim_info *c = &l->claims[i];

		mark = wire_begin(w, 2);
		wire_uint(w, 1, c->claim_id);
		wire_uint(w, 2, c->claim.space);
		wire_uint(w, 3, c->claim.first);
		wire_uint(w, 4, c->claim.last);
		wire_string(w, 5, c->claim.name);
		wire_uint(w, 6, c->claim.absence);
		wire_uint(w, 7, c->claim.fill);
		wire_string(w, 8, c->client);
		wire_uint(w, 9, c->client_id);
		wire_uint(w, 10, c->vcpu_mask);
		wire_end(w, mark);
	}
}

static void put_runs(struct wire *w, const struct kvmcpu_run_result *l)
{
	for (size_t i = 0; i < l->n_runs; i++) {
		const struct kvmcpu_vcpu_run *r = &l->runs[i];
		uint8_t *mark = wire_begin(w, 1);

		wire_uint(w, 1, r->vcpu);
		wire_uint(w, 2, r->end);
		wire_uint(w, 3, r->tick);
		wire_uint(w, 4, r->executed_ticks);
		wire_uint(w, 5, r->charged_ticks);
		wire_uint(w, 6, r->idle_ticks);
		wire_uint(w, 7, r->exit_seq);
		wire_uint(w, 8, r->exits);
		wire_uint(w, 9, r->in_flight);
		wire_uint(w, 10, r->instructions);
		wire_uint(w, 11, r->host_ns);
		wire_end(w, mark);
	}
}

static void put_result(struct wire *w, const struct kvmcpu_response *r)
{
	switch (r->result) {
	case KVMCPU_RESULT_STATUS:
		codec_put_status(w, &r->status);
		break;
	case KVMCPU_RESULT_STATS:
		codec_put_stats(w, &r->stats);
		break;
	case KVMCPU_RESULT_DUMP:
		codec_put_dump(w, &r->dump);
		break;
	case KVMCPU_RESULT_CLIENTS:
		put_clients(w, &r->clients);
		break;
	case KVMCPU_RESULT_MEMORY:
		wire_uint(w, 1, r->memory.address);
		wire_bytes(w, 2, r->memory.data, r->memory.size);
		break;
	case KVMCPU_RESULT_MEMORY_MAP:
		codec_put_memory_map(w, &r->memory_map);
		break;
	case KVMCPU_RESULT_SCHEMA:
		wire_bytes(w, 1, r->schema.data, r->schema.size);
		break;
	case KVMCPU_RESULT_RUNS:
		put_runs(w, &r->runs);
		break;
	case KVMCPU_RESULT_NONE:
	case KVMCPU_RESULT_DONE:
		break;
	}
}

int codec_pack_response(const struct kvmcpu_response *r, uint8_t *buf, size_t size)
{
	struct wire w;
	uint8_t *mark;

	wire_init(&w, buf, size);
	wire_uint(&w, 1, r->id);
	if (r->result == KVMCPU_RESULT_NONE) {
		mark = wire_begin(&w, 2);
		wire_uint(&w, 1, r->error.code);
		wire_string(&w, 2, r->error.message);
	} else {
		mark = wire_begin(&w, r->result);
		put_result(&w, r);
	}
	wire_end(&w, mark);
	return wire_finish(&w);
}

static void get_client(const Kvmcpud__V1__ClientInfo *m, struct kvmcpu_client_info *ret)
{
	ret->client_id = m->client_id;
	ret->role = (enum kvmcpu_role)m->role;
	ret->name = m->name;
	ret->pid = m->pid;
	ret->uid = m->uid;
	ret->connected_ns = m->connected_ns;
	ret->served = m->served;
	ret->lost = m->lost;
}

static void get_claim(const Kvmcpud__V1__ClaimInfo *m, struct kvmcpu_claim_info *ret)
{
	ret->claim_id = m->claim_id;
	ret->claim.space = (enum kvmcpu_space)m->space;
	ret->claim.first = m->first;
	ret->claim.last = m->last;
	ret->claim.name = m->name;
	ret->claim.absence = (enum kvmcpu_absence)m->absence;
	ret->claim.fill = m->fill;
	ret->client = m->client;
	ret->client_id = m->client_id;
	ret->vcpu_mask = m->vcpu_mask;
}

static int get_clients(const Kvmcpud__V1__ClientList *m, const struct codec_in *in,
		       struct kvmcpu_client_list *ret)
{
	struct kvmcpu_client_info *clients;
	struct kvmcpu_claim_info *claims;
	int r = codec_array(in, m->n_clients, sizeof(*clients), &clients);

	if (r == 0)
		r = codec_array(in, m->n_claims, sizeof(*claims), &claims);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_clients; i++)
		get_client(m->clients[i], &clients[i]);
	for (size_t i = 0; i < m->n_claims; i++)
		get_claim(m->claims[i], &claims[i]);
	*ret = (struct kvmcpu_client_list){clients, m->n_clients, claims, m->n_claims};
	return 0;
}

static int get_runs(const Kvmcpud__V1__RunResult *m, const struct codec_in *in,
		    struct kvmcpu_run_result *ret)
{
	struct kvmcpu_vcpu_run *runs;
	int r = codec_array(in, m->n_runs, sizeof(*runs), &runs);

	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_runs; i++)
		runs[i] = (struct kvmcpu_vcpu_run){
		    .vcpu = m->runs[i]->vcpu,
		    .end = (enum kvmcpu_run_end)m->runs[i]->end,
		    .tick = m->runs[i]->tick,
		    .executed_ticks = m->runs[i]->executed_ticks,
		    .charged_ticks = m->runs[i]->charged_ticks,
		    .idle_ticks = m->runs[i]->idle_ticks,
		    .exit_seq = m->runs[i]->exit_seq,
		    .exits = m->runs[i]->exits,
		    .in_flight = m->runs[i]->in_flight,
		    .instructions = m->runs[i]->instructions,
		    .host_ns = m->runs[i]->host_ns,
		};
	*ret = (struct kvmcpu_run_result){runs, m->n_runs};
	return 0;
}

static void get_error(const Kvmcpud__V1__Error *m, struct kvmcpu_response *ret)
{
	ret->error.code = (enum kvmcpu_error_code)m->code;
	if (!m->code)
		ret->error.code = KVMCPU_ERROR_SYSTEM;
	ret->error.message = codec_clean_text(m->message);
}

static int get_result(const Kvmcpud__V1__Response *m, const struct codec_in *in,
		      struct kvmcpu_response *ret)
{
	ret->result = (enum kvmcpu_result)m->result_case;
	switch (ret->result) {
	case KVMCPU_RESULT_DONE:
		return 0;
	case KVMCPU_RESULT_STATUS:
		return codec_get_status(m->status, in, &ret->status);
	case KVMCPU_RESULT_STATS:
		return codec_get_stats(m->stats, in, &ret->stats);
	case KVMCPU_RESULT_DUMP:
		return codec_get_dump(m->dump, in, &ret->dump);
	case KVMCPU_RESULT_CLIENTS:
		return get_clients(m->clients, in, &ret->clients);
	case KVMCPU_RESULT_MEMORY:
		ret->memory.address = m->memory->address;
		ret->memory.data = m->memory->data.len ? m->memory->data.data : NULL;
		ret->memory.size = m->memory->data.len;
		return 0;
	case KVMCPU_RESULT_MEMORY_MAP:
		return codec_get_memory_map(m->memory_map, in, &ret->memory_map);
	case KVMCPU_RESULT_SCHEMA:
		ret->schema.data = m->schema->file_descriptor_set.data;
		ret->schema.size = m->schema->file_descriptor_set.len;
		return 0;
	case KVMCPU_RESULT_RUNS:
		return get_runs(m->runs, in, &ret->runs);
	case KVMCPU_RESULT_NONE:
		break;
	}
	return codec_fail(in->err, -EPROTO,
			  "response %llu has neither an error nor a result known here",
			  (unsigned long long)m->id);
}

int codec_unpack_response(const uint8_t *buf, size_t size, struct codec_arena *a,
			  struct kvmcpu_response *ret, struct codec_error *err)
{
	struct codec_in in = {.arena = a, .err = err};
	Kvmcpud__V1__Response *m;
	int r;

	r = codec_parse(&kvmcpud__v1__response__descriptor, buf, size, &in, &m);
	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	ret->id = m->id;
	ret->error.message = "";
	if (!m->error)
		return get_result(m, &in, ret);
	get_error(m->error, ret);
	return 0;
}
