/* SPDX-License-Identifier: MIT
 *
 * Request. Its id is set as soon as the bytes parse, whatever is wrong with the
 * call itself, because the refusal must carry it.
 */
#include "config.h"

#include "codec_internal.h"

#include <errno.h>

#define DEFAULT_PAUSE_MS 1000 /* control.proto */
#define MAX_PAUSE_MS 600000

static void put_call(struct wire *w, const struct kvmcpu_request *r)
{
	switch (r->call) {
	case KVMCPU_CALL_PAUSE:
		wire_mask(w, 1, r->pause.vcpu_mask);
		wire_uint(w, 2, r->pause.timeout_ms);
		break;
	case KVMCPU_CALL_RESUME:
		wire_mask(w, 1, r->pause.vcpu_mask);
		break;
	case KVMCPU_CALL_STOP:
		wire_uint(w, 1, r->stop.code);
		wire_string(w, 2, r->stop.reason);
		break;
	case KVMCPU_CALL_DUMP:
		wire_uint(w, 1, r->dump.vcpu);
		break;
	case KVMCPU_CALL_READ_MEMORY:
		wire_uint(w, 1, r->memory.address);
		wire_uint(w, 2, r->memory.size);
		break;
	case KVMCPU_CALL_WRITE_MEMORY:
		wire_uint(w, 1, r->memory.address);
		wire_bytes(w, 2, r->memory.data, r->memory.data_size);
		break;
	case KVMCPU_CALL_EFFECT:
		codec_put_effect(w, &r->effect);
		break;
	case KVMCPU_CALL_RUN:
		wire_mask(w, 1, r->run.vcpu_mask);
		wire_uint(w, 2, r->run.ticks);
		wire_uint(w, 3, r->run.advance_to_tick);
		wire_uint(w, 4, r->run.stop_at_exit);
		wire_uint(w, 5, r->run.async);
		wire_uint(w, 6, r->run.instructions);
		break;
	case KVMCPU_CALL_WAIT_RUN:
	case KVMCPU_CALL_CANCEL_RUN:
		wire_mask(w, 1, r->run.vcpu_mask);
		break;
	case KVMCPU_CALL_NONE:
	case KVMCPU_CALL_PING:
	case KVMCPU_CALL_STATUS:
	case KVMCPU_CALL_STATS:
	case KVMCPU_CALL_CLIENTS:
	case KVMCPU_CALL_MEMORY_MAP:
	case KVMCPU_CALL_SCHEMA:
		break; /* nothing but the call */
	}
}

int codec_pack_request(const struct kvmcpu_request *r, uint8_t *buf, size_t size)
{
	struct wire w;
	uint8_t *mark;

	wire_init(&w, buf, size);
	wire_uint(&w, 1, r->id);
	if (r->call != KVMCPU_CALL_NONE) {
		mark = wire_begin(&w, r->call);
		put_call(&w, r);
		wire_end(&w, mark);
	}
	return wire_finish(&w);
}

static int get_pause(const Kvmcpud__V1__PauseCall *m, const struct codec_in *in,
		     struct kvmcpu_request *ret)
{
	if (m->timeout_ms > MAX_PAUSE_MS)
		return codec_fail(in->err, -EPROTO, "a pause's timeout of %u ms is above %d",
				  m->timeout_ms, MAX_PAUSE_MS);
	ret->pause.timeout_ms = m->timeout_ms ? m->timeout_ms : DEFAULT_PAUSE_MS;
	return codec_get_vcpus(m->vcpus, m->n_vcpus, in, &ret->pause.vcpu_mask);
}

static int get_stop(const Kvmcpud__V1__StopCall *m, const struct codec_in *in,
		    struct kvmcpu_request *ret)
{
	ret->stop.code = m->code;
	ret->stop.reason = codec_clean_text(m->reason);
	return codec_check_stop(m->code, m->reason, in->err);
}

static int check_memory(uint64_t address, size_t size, const struct codec_in *in)
{
	if (!size || size > KVMCPU_MAX_MEMORY_CALL)
		return codec_fail(in->err, -EPROTO, "%zu bytes of guest memory, not 1 to %d", size,
				  KVMCPU_MAX_MEMORY_CALL);
	return codec_check_span(address, size, in->err);
}

static int get_read(const Kvmcpud__V1__ReadMemoryCall *m, const struct codec_in *in,
		    struct kvmcpu_request *ret)
{
	ret->memory.address = m->address;
	ret->memory.size = m->size_bytes;
	return check_memory(m->address, m->size_bytes, in);
}

static int get_write(const Kvmcpud__V1__WriteMemoryCall *m, const struct codec_in *in,
		     struct kvmcpu_request *ret)
{
	ret->memory.address = m->address;
	ret->memory.data = m->data.data;
	ret->memory.data_size = m->data.len;
	return check_memory(m->address, m->data.len, in);
}

static int get_call(const Kvmcpud__V1__Request *m, const struct codec_in *in,
		    struct kvmcpu_request *ret)
{
	switch (ret->call) {
	case KVMCPU_CALL_PAUSE:
		return get_pause(m->pause, in, ret);
	case KVMCPU_CALL_RESUME:
		return codec_get_vcpus(m->resume->vcpus, m->resume->n_vcpus, in,
				       &ret->pause.vcpu_mask);
	case KVMCPU_CALL_STOP:
		return get_stop(m->stop, in, ret);
	case KVMCPU_CALL_DUMP:
		ret->dump.vcpu = m->dump->vcpu;
		return codec_check_vcpu(m->dump->vcpu, in->err);
	case KVMCPU_CALL_READ_MEMORY:
		return get_read(m->read_memory, in, ret);
	case KVMCPU_CALL_WRITE_MEMORY:
		return get_write(m->write_memory, in, ret);
	case KVMCPU_CALL_EFFECT:
		return codec_get_effect(m->effect, in, &ret->effect);
	case KVMCPU_CALL_RUN:
		ret->run.ticks = m->run->ticks;
		ret->run.advance_to_tick = m->run->advance_to_tick;
		ret->run.stop_at_exit = m->run->stop_at_exit;
		ret->run.async = m->run->async;
		ret->run.instructions = m->run->instructions;
		return codec_get_vcpus(m->run->vcpus, m->run->n_vcpus, in, &ret->run.vcpu_mask);
	case KVMCPU_CALL_WAIT_RUN:
		return codec_get_vcpus(m->wait_run->vcpus, m->wait_run->n_vcpus, in,
				       &ret->run.vcpu_mask);
	case KVMCPU_CALL_CANCEL_RUN:
		return codec_get_vcpus(m->cancel_run->vcpus, m->cancel_run->n_vcpus, in,
				       &ret->run.vcpu_mask);
	case KVMCPU_CALL_NONE:
	case KVMCPU_CALL_PING:
	case KVMCPU_CALL_STATUS:
	case KVMCPU_CALL_STATS:
	case KVMCPU_CALL_CLIENTS:
	case KVMCPU_CALL_MEMORY_MAP:
	case KVMCPU_CALL_SCHEMA:
		break;
	}
	return 0;
}

int codec_unpack_request(const uint8_t *buf, size_t size, struct codec_arena *a,
			 struct kvmcpu_request *ret, struct codec_error *err)
{
	const ProtobufCMessageDescriptor *d = &kvmcpud__v1__request__descriptor;
	struct codec_in in = {.arena = a, .err = err};
	Kvmcpud__V1__Request *m;
	int r;

	r = codec_parse(d, buf, size, &in, &m);
	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	ret->id = m->id;
	r = codec_check_text(d, buf, size, err);
	if (r < 0)
		return r;
	ret->call = (enum kvmcpu_call)m->call_case;
	return get_call(m, &in, ret);
}
