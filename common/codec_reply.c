/* SPDX-License-Identifier: MIT
 *
 * ExitReply and Effect: what a device may say. A reply is checked in two steps:
 * by itself as it is unpacked, and against the exit that it answers by
 * codec_check_reply. Whatever fails either is refused whole, before any of it
 * takes effect.
 */
#include "config.h"

#include "codec_internal.h"

#include <errno.h>

#define MAX_GSI 23    /* the IO-APIC's last pin */
#define MIN_VECTOR 32 /* those below are the CPU's own */
#define MAX_VECTOR 255

void codec_put_effect(struct wire *w, const struct kvmcpu_effect *e)
{
	uint8_t *mark = wire_begin(w, e->kind);

	switch (e->kind) {
	case KVMCPU_EFFECT_SET_IRQ_LINE:
		wire_uint(w, 1, e->irq_line.gsi);
		wire_uint(w, 2, e->irq_line.level);
		wire_uint(w, 3, e->irq_line.decided_ns);
		break;
	case KVMCPU_EFFECT_INTERRUPT:
		wire_uint(w, 1, e->cpu.vcpu);
		wire_uint(w, 2, e->cpu.vector);
		break;
	case KVMCPU_EFFECT_NMI:
	case KVMCPU_EFFECT_WAKE:
	case KVMCPU_EFFECT_END_RUN:
		wire_uint(w, 1, e->cpu.vcpu);
		break;
	case KVMCPU_EFFECT_WRITE_MEMORY:
		wire_uint(w, 1, e->memory.address);
		wire_bytes(w, 2, e->memory.data, e->memory.size);
		break;
	case KVMCPU_EFFECT_STOP_VM:
		wire_uint(w, 1, e->stop.code);
		wire_string(w, 2, e->stop.reason);
		wire_uint(w, 3, e->stop.reset);
		break;
	}
	wire_end(w, mark);
}

int codec_pack_reply(const struct kvmcpu_reply *r, uint8_t *buf, size_t size)
{
	struct wire w;
	uint8_t *mark;

	wire_init(&w, buf, size);
	wire_uint(&w, 1, r->seq);
	wire_uint(&w, 2, r->status);
	wire_bytes(&w, 3, r->data, r->data_size);
	wire_uint(&w, 4, r->ticks);
	for (size_t i = 0; i < r->n_effects; i++) {
		mark = wire_begin(&w, 5);
		codec_put_effect(&w, &r->effects[i]);
		wire_end(&w, mark);
	}
	return wire_finish(&w);
}

static int check_irq_line(const struct kvmcpu_effect *e, struct codec_error *err)
{
	if (e->irq_line.gsi <= MAX_GSI)
		return 0;
	return codec_fail(err, -EPROTO, "interrupt line %u is above %d, the highest",
			  e->irq_line.gsi, MAX_GSI);
}

static int check_interrupt(const struct kvmcpu_effect *e, struct codec_error *err)
{
	if (e->cpu.vector >= MIN_VECTOR && e->cpu.vector <= MAX_VECTOR)
		return codec_check_vcpu(e->cpu.vcpu, err);
	return codec_fail(err, -EPROTO, "interrupt vector %u is not %d to %d", e->cpu.vector,
			  MIN_VECTOR, MAX_VECTOR);
}

static int check_memory(const struct kvmcpu_effect *e, struct codec_error *err)
{
	if (e->memory.size >= 1 && e->memory.size <= KVMCPU_MAX_EFFECT_DATA)
		return codec_check_span(e->memory.address, e->memory.size, err);
	return codec_fail(err, -EPROTO, "a write of %zu bytes to guest memory, not 1 to %d",
			  e->memory.size, KVMCPU_MAX_EFFECT_DATA);
}

static int check_stop(const struct kvmcpu_effect *e, struct codec_error *err)
{
	return codec_check_stop(e->stop.code, e->stop.reason, err);
}

int codec_check_stop(uint32_t code, const char *reason, struct codec_error *err)
{
	size_t n = reason ? strlen(reason) : 0;

	if (code > KVMCPU_MAX_STOP_CODE)
		return codec_fail(err, -EPROTO, "stop code %u is above %d", code,
				  KVMCPU_MAX_STOP_CODE);
	if (n > KVMCPU_MAX_REASON)
		return codec_fail(err, -EPROTO,
				  "a stop reason of %zu bytes, at most %d are allowed", n,
				  KVMCPU_MAX_REASON);
	return 0;
}

int codec_check_effect(const struct kvmcpu_effect *e, struct codec_error *err)
{
	switch (e->kind) {
	case KVMCPU_EFFECT_SET_IRQ_LINE:
		return check_irq_line(e, err);
	case KVMCPU_EFFECT_INTERRUPT:
		return check_interrupt(e, err);
	case KVMCPU_EFFECT_NMI:
	case KVMCPU_EFFECT_WAKE:
	case KVMCPU_EFFECT_END_RUN:
		return codec_check_vcpu(e->cpu.vcpu, err);
	case KVMCPU_EFFECT_WRITE_MEMORY:
		return check_memory(e, err);
	case KVMCPU_EFFECT_STOP_VM:
		return check_stop(e, err);
	}
	return codec_fail(err, -EPROTO, "an effect of no kind known here");
}

int codec_get_effect(const Kvmcpud__V1__Effect *m, const struct codec_in *in,
		     struct kvmcpu_effect *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->kind = (enum kvmcpu_effect_kind)m->kind_case;
	switch (ret->kind) {
	case KVMCPU_EFFECT_SET_IRQ_LINE:
		ret->irq_line.gsi = m->set_irq_line->gsi;
		ret->irq_line.level = m->set_irq_line->level;
		ret->irq_line.decided_ns = m->set_irq_line->decided_ns;
		break;
	case KVMCPU_EFFECT_INTERRUPT:
		ret->cpu.vcpu = m->interrupt->vcpu;
		ret->cpu.vector = m->interrupt->vector;
		break;
	case KVMCPU_EFFECT_NMI:
		ret->cpu.vcpu = m->nmi->vcpu;
		break;
	case KVMCPU_EFFECT_WAKE:
		ret->cpu.vcpu = m->wake->vcpu;
		break;
	case KVMCPU_EFFECT_END_RUN:
		ret->cpu.vcpu = m->end_run->vcpu;
		break;
	case KVMCPU_EFFECT_WRITE_MEMORY:
		ret->memory.address = m->write_guest_memory->address;
		ret->memory.data = m->write_guest_memory->data.data;
		ret->memory.size = m->write_guest_memory->data.len;
		break;
	case KVMCPU_EFFECT_STOP_VM:
		ret->stop.code = m->stop_vm->code;
		ret->stop.reason = codec_clean_text(m->stop_vm->reason);
		ret->stop.reset = m->stop_vm->reset;
		break;
	default:
		if (in->lenient)
			return 0;
		break;
	}
	return codec_check_effect(ret, in->err);
}

static int get_effects(const Kvmcpud__V1__ExitReply *m, const struct codec_in *in,
		       struct kvmcpu_reply *ret)
{
	struct kvmcpu_effect *effects;
	int r;

	if (m->n_effects > KVMCPU_MAX_EFFECTS)
		return codec_fail(in->err, -EPROTO, "%zu effects, at most %d are allowed",
				  m->n_effects, KVMCPU_MAX_EFFECTS);
	r = codec_array(in, m->n_effects, sizeof(*effects), &effects);
	for (size_t i = 0; r == 0 && i < m->n_effects; i++) {
		r = codec_get_effect(m->effects[i], in, &effects[i]);
		if (r < 0)
			r = codec_fail_at(in->err, r, "effect", i);
	}
	ret->effects = effects;
	ret->n_effects = m->n_effects;
	return r;
}

int codec_get_reply(const Kvmcpud__V1__ExitReply *m, const struct codec_in *in,
		    struct kvmcpu_reply *ret)
{
	unsigned int status = m->status;

	if (!status)
		status = KVMCPU_REPLY_OK;
	if (status > KVMCPU_REPLY_BUS_ERROR && !in->lenient)
		return codec_fail(in->err, -EPROTO, "reply status %u is not known here", status);
	*ret = (struct kvmcpu_reply){
	    .seq = m->seq,
	    .status = (enum kvmcpu_reply_status)status,
	    .data = m->data.len ? m->data.data : NULL,
	    .data_size = m->data.len,
	    .ticks = m->ticks,
	};
	return m->n_effects ? get_effects(m, in, ret) : 0;
}

int codec_unpack_reply(const uint8_t *buf, size_t size, struct codec_arena *a,
		       struct kvmcpu_reply *ret, struct codec_error *err)
{
	const ProtobufCMessageDescriptor *d = &kvmcpud__v1__exit_reply__descriptor;
	struct codec_in in = {.arena = a, .err = err};
	Kvmcpud__V1__ExitReply scanned, *m;
	int r;

	if (codec_scan_reply(buf, size, a, &scanned))
		return codec_get_reply(&scanned, &in, ret);
	r = codec_parse(d, buf, size, &in, &m);
	if (r == 0 && m->n_effects) /* only an effect has text */
		r = codec_check_text(d, buf, size, err);
	return r < 0 ? r : codec_get_reply(m, &in, ret);
}

/* The bytes of data that an answer with OK has at least and at most. */
static size_t data_due(const struct kvmcpu_exit *x, size_t *ret_most)
{
	size_t due = 0;

	if (x->kind == KVMCPU_EXIT_HYPERCALL) {
		*ret_most = 8;
		return 0;
	}
	if (x->direction == KVMCPU_READ &&
	    (x->kind == KVMCPU_EXIT_PIO || x->kind == KVMCPU_EXIT_MMIO ||
	     x->kind == KVMCPU_EXIT_MSR))
		due = (size_t)x->size * x->count;
	*ret_most = due;
	return due;
}

int codec_check_reply(const struct kvmcpu_exit *x, const struct kvmcpu_reply *r,
		      struct codec_error *err)
{
	size_t most, least = data_due(x, &most);

	if (r->seq != x->seq)
		return codec_fail(err, -EPROTO, "reply to seq %llu while exit %llu is in flight",
				  (unsigned long long)r->seq, (unsigned long long)x->seq);
	if (r->status > KVMCPU_REPLY_BUS_ERROR)
		return codec_fail(err, -EPROTO, "reply status %u is not known here", r->status);
	if (r->status == KVMCPU_REPLY_BUS_ERROR)
		least = most = 0;
	if (r->data_size < least || r->data_size > most)
		return codec_fail(
		    err, -EPROTO,
		    "reply to exit %llu (%s) has %zu bytes of data where %s%zu are due",
		    (unsigned long long)x->seq, codec_kind_name(x->kind), r->data_size,
		    least < most ? "at most " : "", most);
	if (r->n_effects > KVMCPU_MAX_EFFECTS)
		return codec_fail(err, -EPROTO, "%zu effects, at most %d are allowed", r->n_effects,
				  KVMCPU_MAX_EFFECTS);
	for (size_t i = 0; i < r->n_effects; i++)
		if (codec_check_effect(&r->effects[i], err) < 0)
			return codec_fail_at(err, -EPROTO, "effect", i);
	return 0;
}
