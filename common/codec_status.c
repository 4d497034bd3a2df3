/* SPDX-License-Identifier: MIT
 *
 * Status: what the VM and each of its vCPUs do now, and who waits for whom.
 */
#include "config.h"

#include "codec_internal.h"

static void put_wait(struct wire *w, const struct kvmcpu_vcpu_status *v)
{
	uint8_t *mark = wire_begin(w, 6);

	wire_uint(w, 1, v->wait.cause);
	wire_uint(w, 2, v->wait.since_ns);
	wire_uint(w, 3, v->wait.kind);
	wire_uint(w, 4, v->wait.exit_seq);
	wire_uint(w, 5, v->wait.address);
	wire_uint(w, 6, v->wait.direction);
	wire_uint(w, 7, v->wait.size_bytes);
	wire_string(w, 8, v->wait.claim);
	wire_string(w, 9, v->wait.client);
	wire_uint(w, 10, v->wait.client_id);
	wire_end(w, mark);
}

static void put_vcpu(struct wire *w, const struct kvmcpu_vcpu_status *v)
{
	uint8_t *mark = wire_begin(w, 7);

	wire_uint(w, 1, v->vcpu);
	wire_uint(w, 2, v->state);
	wire_uint(w, 3, v->paused);
	wire_uint(w, 4, v->tick);
	wire_uint(w, 5, v->exit_seq);
	if (v->wait.cause != KVMCPU_WAIT_NONE)
		put_wait(w, v);
	wire_string(w, 7, v->stop_reason);
	wire_uint(w, 8, v->first_entry_ns);
	wire_uint(w, 9, v->thread_id);
	wire_uint(w, 10, v->in_run);
	wire_end(w, mark);
}

void codec_put_status(struct wire *w, const struct kvmcpu_status *s)
{
	uint8_t *mark = wire_begin(w, 1);

	codec_put_vm_info(w, &s->vm);
	wire_end(w, mark);
	wire_uint(w, 2, s->state);
	wire_uint(w, 3, s->pid);
	wire_string(w, 4, s->daemon_version);
	wire_uint(w, 5, s->started_ns);
	wire_uint(w, 6, s->now_ns);
	for (size_t i = 0; i < s->n_vcpus; i++)
		put_vcpu(w, &s->vcpus[i]);
	for (size_t i = 0; i < s->n_notes; i++)
		wire_message(w, 8, s->notes[i], strlen(s->notes[i]));
	wire_string(w, 9, s->clock);
}

static void get_wait(const Kvmcpud__V1__WaitStatus *m, struct kvmcpu_vcpu_status *ret)
{
	ret->wait.cause = (enum kvmcpu_wait_cause)m->cause;
	ret->wait.since_ns = m->since_ns;
	ret->wait.kind = (enum kvmcpu_exit_kind)m->kind;
	ret->wait.direction = (enum kvmcpu_direction)m->direction;
	ret->wait.exit_seq = m->exit_seq;
	ret->wait.address = m->address;
	ret->wait.size_bytes = m->size_bytes;
	ret->wait.client_id = m->client_id;
	ret->wait.claim = m->claim;
	ret->wait.client = m->client;
}

static void get_vcpu(const Kvmcpud__V1__VcpuStatus *m, struct kvmcpu_vcpu_status *ret)
{
	ret->vcpu = m->vcpu;
	ret->state = (enum kvmcpu_vcpu_state)m->state;
	ret->paused = m->paused;
	ret->tick = m->tick;
	ret->exit_seq = m->exit_seq;
	ret->stop_reason = codec_clean_text(m->stop_reason);
	ret->first_entry_ns = m->first_entry_ns;
	ret->thread_id = m->thread_id;
	ret->in_run = m->in_run;
	ret->wait.claim = ret->wait.client = "";
	if (m->wait)
		get_wait(m->wait, ret);
}

int codec_get_status(const Kvmcpud__V1__Status *m, const struct codec_in *in,
		     struct kvmcpu_status *ret)
{
	struct kvmcpu_vcpu_status *vcpus;
	int r = codec_array(in, m->n_vcpus, sizeof(*vcpus), &vcpus);

	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_vcpus; i++)
		get_vcpu(m->vcpus[i], &vcpus[i]);
	for (size_t i = 0; i < m->n_notes; i++)
		codec_clean_text(m->notes[i]);
	*ret = (struct kvmcpu_status){
	    .state = (enum kvmcpu_vm_state)m->state,
	    .pid = m->pid,
	    .daemon_version = codec_clean_text(m->daemon_version),
	    .started_ns = m->started_ns,
	    .now_ns = m->now_ns,
	    .vcpus = vcpus,
	    .n_vcpus = m->n_vcpus,
	    .notes = (const char *const *)m->notes,
	    .n_notes = m->n_notes,
	    .clock = codec_clean_text(m->clock_source),
	};
	codec_get_vm_info(m->vm, &ret->vm);
	return 0;
}
