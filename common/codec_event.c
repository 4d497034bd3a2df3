/* SPDX-License-Identifier: MIT
 *
 * Events. Going out, an exit's event is put around the bytes of the exit and
 * the reply as they went over the device's socket; nothing is packed twice.
 * Coming in, whoever watches may be older than the daemon: kinds that are not
 * known here are passed on without their content, never refused.
 */
#include "config.h"

#include "codec_internal.h"

#include <errno.h>

static void put_group(struct wire *w, const struct kvmcpu_register_group *g)
{
	uint8_t *mark = wire_begin(w, 3);

	wire_string(w, 1, g->name);
	for (size_t i = 0; i < g->n_registers; i++) {
		const struct kvmcpu_register *reg = &g->registers[i];
		uint8_t *inner = wire_begin(w, 2);

		wire_string(w, 1, reg->name);
		wire_uint(w, 2, reg->bytes ? 0 : reg->value);
		wire_bytes(w, 3, reg->bytes, reg->bytes ? reg->size : 0);
		wire_end(w, inner);
	}
	wire_string(w, 3, g->error);
	wire_end(w, mark);
}

void codec_put_dump(struct wire *w, const struct kvmcpu_dump *d)
{
	wire_uint(w, 1, d->vcpu);
	wire_uint(w, 2, d->tick);
	for (size_t i = 0; i < d->n_groups; i++)
		put_group(w, &d->groups[i]);
	wire_uint(w, 4, d->code_address);
	wire_bytes(w, 5, d->code, d->code_size);
	wire_string(w, 6, d->cause);
	wire_uint(w, 7, d->access_pending);
}

int codec_pack_exit_event(const struct codec_exit_event *e, uint8_t *buf, size_t size)
{
	struct wire w;
	uint8_t *record, *dump;

	wire_init(&w, buf, size);
	wire_uint(&w, 1, e->seq);
	wire_uint(&w, 2, e->vcpu);
	record = wire_begin(&w, 3);
	wire_message(&w, 1, e->exit, e->exit_size);
	if (e->reply)
		wire_message(&w, 2, e->reply, e->reply_size);
	wire_uint(&w, 3, e->sent_after_ns);
	wire_uint(&w, 4, e->replied_after_ns);
	wire_uint(&w, 5, e->reentered_after_ns);
	wire_uint(&w, 6, e->answered_by);
	wire_uint(&w, 7, e->claim_id);
	wire_uint(&w, 8, e->client_id);
	if (e->dump) {
		dump = wire_begin(&w, 9);
		codec_put_dump(&w, e->dump);
		wire_end(&w, dump);
	}
	wire_uint(&w, 10, e->executed_ticks);
	wire_uint(&w, 11, e->idle_ticks);
	wire_end(&w, record);
	return wire_finish(&w);
}

int codec_pack_state_event(const struct kvmcpu_event *e, uint8_t *buf, size_t size)
{
	struct wire w;
	uint8_t *mark;

	wire_init(&w, buf, size);
	wire_uint(&w, 1, e->seq);
	wire_uint(&w, 2, e->vcpu);
	mark = wire_begin(&w, 4);
	wire_uint(&w, 1, e->state.from);
	wire_uint(&w, 2, e->state.to);
	wire_uint(&w, 3, e->state.at_ns);
	wire_uint(&w, 4, e->state.tick);
	wire_uint(&w, 5, e->state.exit_seq);
	wire_uint(&w, 6, e->state.paused);
	wire_end(&w, mark);
	return wire_finish(&w);
}

int codec_put_batch_event(const uint8_t *event, size_t event_size, uint8_t *buf, size_t size)
{
	struct wire w;

	wire_init(&w, buf, size);
	wire_message(&w, 1, event, event_size);
	return wire_finish(&w);
}

int codec_put_batch_loss(uint32_t vcpu, uint64_t first_seq, uint64_t count, uint8_t *buf,
			 size_t size)
{
	struct wire w;
	uint8_t *mark;

	wire_init(&w, buf, size);
	mark = wire_begin(&w, 2);
	wire_uint(&w, 1, vcpu);
	wire_uint(&w, 2, first_seq);
	wire_uint(&w, 3, count);
	wire_end(&w, mark);
	return wire_finish(&w);
}

static int get_group(const Kvmcpud__V1__RegisterGroup *m, const struct codec_in *in,
		     struct kvmcpu_register_group *ret)
{
	struct kvmcpu_register *registers;
	int r = codec_array(in, m->n_registers, sizeof(*registers), &registers);

	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_registers; i++) {
		const Kvmcpud__V1__Register *reg = m->registers[i];

		registers[i].name = reg->name;
		registers[i].value = reg->value;
		registers[i].bytes = reg->bytes.len ? reg->bytes.data : NULL;
		registers[i].size = reg->bytes.len;
	}
	ret->name = m->name;
	ret->error = m->error;
	ret->registers = registers;
	ret->n_registers = m->n_registers;
	return 0;
}

int codec_get_dump(const Kvmcpud__V1__Dump *m, const struct codec_in *in, struct kvmcpu_dump *ret)
{
	struct kvmcpu_register_group *groups;
	int r = codec_array(in, m->n_groups, sizeof(*groups), &groups);

	for (size_t i = 0; r == 0 && i < m->n_groups; i++)
		r = get_group(m->groups[i], in, &groups[i]);
	if (r < 0)
		return r;
	*ret = (struct kvmcpu_dump){
	    .vcpu = m->vcpu,
	    .access_pending = m->access_pending,
	    .tick = m->tick,
	    .groups = groups,
	    .n_groups = m->n_groups,
	    .code_address = m->code_address,
	    .code = m->code.len ? m->code.data : NULL,
	    .code_size = m->code.len,
	    .cause = codec_clean_text(m->cause),
	};
	return 0;
}

static int get_record(const Kvmcpud__V1__ExitRecord *m, const struct codec_in *in,
		      struct kvmcpu_event *ret)
{
	struct kvmcpu_dump *dump;
	int r = 0;

	ret->exit.sent_after_ns = m->sent_after_ns;
	ret->exit.replied_after_ns = m->replied_after_ns;
	ret->exit.reentered_after_ns = m->reentered_after_ns;
	ret->exit.executed_ticks = m->executed_ticks;
	ret->exit.idle_ticks = m->idle_ticks;
	ret->exit.answered_by = (enum kvmcpu_answerer)m->answered_by;
	ret->exit.claim_id = m->claim_id;
	ret->exit.client_id = m->client_id;
	if (m->exit)
		r = codec_get_exit(m->exit, in, &ret->exit.exit);
	if (r == 0 && m->reply)
		r = codec_get_reply(m->reply, in, &ret->exit.reply);
	if (r < 0 || !m->dump)
		return r;
	r = codec_array(in, 1, sizeof(*dump), &dump);
	if (r < 0)
		return r;
	ret->exit.dump = dump;
	return codec_get_dump(m->dump, in, dump);
}

static void get_state(const Kvmcpud__V1__StateChange *m, struct kvmcpu_event *ret)
{
	ret->state.from = (enum kvmcpu_vcpu_state)m->from_state;
	ret->state.to = (enum kvmcpu_vcpu_state)m->to_state;
	ret->state.at_ns = m->at_ns;
	ret->state.tick = m->tick;
	ret->state.exit_seq = m->exit_seq;
	ret->state.paused = m->paused;
}

/* Fills in *ret, which is zeroed. Returns 1, or 0 for an event of no kind known
 * here, or -errno. */
static int get_event(const Kvmcpud__V1__Event *m, const struct codec_in *in,
		     struct kvmcpu_event *ret)
{
	int r = codec_check_vcpu(m->vcpu, in->err);

	if (r < 0)
		return r;
	ret->kind = (enum kvmcpu_event_kind)m->what_case;
	ret->seq = m->seq;
	ret->vcpu = m->vcpu;
	if (m->what_case == KVMCPUD__V1__EVENT__WHAT_EXIT)
		r = get_record(m->exit, in, ret);
	else if (m->what_case == KVMCPUD__V1__EVENT__WHAT_STATE)
		get_state(m->state, ret);
	else
		return 0;
	return r < 0 ? r : 1;
}

static int get_loss(const Kvmcpud__V1__Loss *m, const struct codec_in *in, struct kvmcpu_event *ret)
{
	int r = codec_check_vcpu(m->vcpu, in->err);

	ret->kind = KVMCPU_EVENT_LOSS;
	ret->seq = m->first_seq;
	ret->vcpu = m->vcpu;
	ret->loss.count = m->count;
	return r;
}

int codec_unpack_batch(const uint8_t *buf, size_t size, struct codec_arena *a,
		       struct kvmcpu_event **ret_events, size_t *ret_n, struct codec_error *err)
{
	struct codec_in in = {.arena = a, .err = err, .lenient = true};
	Kvmcpud__V1__EventBatch *m;
	struct kvmcpu_event *events;
	size_t n = 0;
	int r;

	r = codec_parse(&kvmcpud__v1__event_batch__descriptor, buf, size, &in, &m);
	if (r < 0)
		return r;
	r = codec_array(&in, m->n_events + m->n_losses, sizeof(*events), &events);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_events; i++) {
		r = get_event(m->events[i], &in, &events[n]);
		if (r < 0)
			return codec_fail_at(err, r, "event", i);
		n += (size_t)r;
	}
	for (size_t i = 0; i < m->n_losses; i++) {
		memset(&events[n], 0, sizeof(events[n]));
		r = get_loss(m->losses[i], &in, &events[n++]);
		if (r < 0)
			return codec_fail_at(err, r, "loss", i);
	}
	*ret_events = events;
	*ret_n = n;
	return 0;
}
