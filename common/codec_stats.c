/* SPDX-License-Identifier: MIT
 *
 * Stats: counters and histograms, field by field.
 */
#include "config.h"

#include "codec_internal.h"

static void put_histogram(struct wire *w, unsigned int field, const struct kvmcpu_histogram *h)
{
	uint8_t *mark = wire_begin(w, field);

	wire_uint(w, 1, h->count);
	wire_uint(w, 2, h->sum_ns);
	wire_uint(w, 3, h->min_ns);
	wire_uint(w, 4, h->p50_ns);
	wire_uint(w, 5, h->p90_ns);
	wire_uint(w, 6, h->p99_ns);
	wire_uint(w, 7, h->max_ns);
	wire_end(w, mark);
}

static void put_vcpu(struct wire *w, const struct kvmcpu_vcpu_stats *v)
{
	uint8_t *mark = wire_begin(w, 2);

	wire_uint(w, 1, v->vcpu);
	wire_uint(w, 2, v->tick);
	wire_uint(w, 3, v->num_vm_exits);
	wire_uint(w, 4, v->num_vm_half_entries);
	wire_uint(w, 5, v->num_exit_signal);
	wire_uint(w, 6, v->num_mmio);
	wire_uint(w, 7, v->num_io);
	wire_uint(w, 8, v->num_halt);
	wire_uint(w, 9, v->num_interrupts);
	wire_uint(w, 10, v->num_hypercalls);
	wire_uint(w, 11, v->num_msr);
	wire_uint(w, 12, v->num_other);
	wire_uint(w, 13, v->num_unclaimed);
	wire_uint(w, 14, v->num_filled);
	wire_uint(w, 15, v->num_redelivered);
	wire_uint(w, 16, v->ticks_charged);
	wire_uint(w, 17, v->num_events);
	wire_uint(w, 18, v->num_events_lost);
	wire_uint(w, 19, v->io_bytes);
	put_histogram(w, 20, &v->to_sent);
	put_histogram(w, 21, &v->to_replied);
	put_histogram(w, 22, &v->to_reentered);
	wire_uint(w, 23, v->ticks_executed);
	wire_uint(w, 24, v->ticks_idle);
	wire_uint(w, 25, v->num_runs);
	wire_uint(w, 26, v->num_quantum_waits);
	wire_uint(w, 27, v->max_skew_ticks);
	wire_uint(w, 28, v->num_steps);
	wire_end(w, mark);
}

static void put_claim(struct wire *w, const struct kvmcpu_claim_stats *c)
{
	uint8_t *mark = wire_begin(w, 3);

	wire_uint(w, 1, c->claim_id);
	wire_string(w, 2, c->name);
	wire_uint(w, 3, c->space);
	wire_uint(w, 4, c->first);
	wire_uint(w, 5, c->last);
	wire_string(w, 6, c->client);
	wire_uint(w, 7, c->client_id);
	wire_uint(w, 8, c->absent);
	wire_uint(w, 9, c->reads);
	wire_uint(w, 10, c->writes);
	wire_uint(w, 11, c->bus_errors);
	wire_uint(w, 12, c->filled);
	wire_uint(w, 13, c->redelivered);
	wire_uint(w, 14, c->ticks_charged);
	put_histogram(w, 15, &c->service);
	wire_end(w, mark);
}

void codec_put_stats(struct wire *w, const struct kvmcpu_stats *s)
{
	wire_uint(w, 1, s->now_ns);
	for (size_t i = 0; i < s->n_vcpus; i++)
		put_vcpu(w, &s->vcpus[i]);
	for (size_t i = 0; i < s->n_claims; i++)
		put_claim(w, &s->claims[i]);
}

static void get_histogram(const Kvmcpud__V1__Histogram *m, struct kvmcpu_histogram *ret)
{
	if (!m)
		return;
	ret->count = m->count;
	ret->sum_ns = m->sum_ns;
	ret->min_ns = m->min_ns;
	ret->p50_ns = m->p50_ns;
	ret->p90_ns = m->p90_ns;
	ret->p99_ns = m->p99_ns;
	ret->max_ns = m->max_ns;
}

static void get_vcpu(const Kvmcpud__V1__VcpuStats *m, struct kvmcpu_vcpu_stats *ret)
{
	ret->vcpu = m->vcpu;
	ret->tick = m->tick;
	ret->num_vm_exits = m->num_vm_exits;
	ret->num_vm_half_entries = m->num_vm_half_entries;
	ret->num_exit_signal = m->num_exit_signal;
	ret->num_mmio = m->num_mmio;
	ret->num_io = m->num_io;
	ret->num_halt = m->num_halt;
	ret->num_interrupts = m->num_interrupts;
	ret->num_hypercalls = m->num_hypercalls;
	ret->num_msr = m->num_msr;
	ret->num_other = m->num_other;
	ret->num_unclaimed = m->num_unclaimed;
	ret->num_filled = m->num_filled;
	ret->num_redelivered = m->num_redelivered;
	ret->ticks_executed = m->ticks_executed;
	ret->ticks_idle = m->ticks_idle;
	ret->num_runs = m->num_runs;
	ret->num_quantum_waits = m->num_quantum_waits;
	ret->max_skew_ticks = m->max_skew_ticks;
	ret->num_steps = m->num_steps;
	ret->ticks_charged = m->ticks_charged;
	ret->num_events = m->num_events;
	ret->num_events_lost = m->num_events_lost;
	ret->io_bytes = m->io_bytes;
	get_histogram(m->to_sent, &ret->to_sent);
	get_histogram(m->to_replied, &ret->to_replied);
	get_histogram(m->to_reentered, &ret->to_reentered);
}

static void get_claim(const Kvmcpud__V1__ClaimStats *m, struct kvmcpu_claim_stats *ret)
{
	ret->claim_id = m->claim_id;
	ret->space = (enum kvmcpu_space)m->space;
	ret->first = m->first;
	ret->last = m->last;
	ret->name = m->name;
	ret->client = m->client;
	ret->client_id = m->client_id;
	ret->absent = m->absent;
	ret->reads = m->reads;
	ret->writes = m->writes;
	ret->bus_errors = m->bus_errors;
	ret->filled = m->filled;
	ret->redelivered = m->redelivered;
	ret->ticks_charged = m->ticks_charged;
	get_histogram(m->service, &ret->service);
}

int codec_get_stats(const Kvmcpud__V1__Stats *m, const struct codec_in *in,
		    struct kvmcpu_stats *ret)
{
	struct kvmcpu_vcpu_stats *vcpus;
	struct kvmcpu_claim_stats *claims;
	int r = codec_array(in, m->n_vcpus, sizeof(*vcpus), &vcpus);

	if (r == 0)
		r = codec_array(in, m->n_claims, sizeof(*claims), &claims);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_vcpus; i++)
		get_vcpu(m->vcpus[i], &vcpus[i]);
	for (size_t i = 0; i < m->n_claims; i++)
		get_claim(m->claims[i], &claims[i]);
	*ret = (struct kvmcpu_stats){
	    .now_ns = m->now_ns,
	    .vcpus = vcpus,
	    .n_vcpus = m->n_vcpus,
	    .claims = claims,
	    .n_claims = m->n_claims,
	};
	return 0;
}
