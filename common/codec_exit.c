/* SPDX-License-Identifier: MIT
 *
 * Exit. Packing is half of the exit path's own work: one pass over the plain
 * structure, no memory but the caller's. A new kind of exit has one case in
 * put_kind and one in get_kind.
 */
#include "config.h"

#include "codec_internal.h"

#include <errno.h>

#define MAX_DATA_WORDS 16 /* kvm_run's internal.data and system_event.data */

static void put_pio(struct wire *w, const struct kvmcpu_exit *x)
{
	wire_uint(w, 1, x->address);
	wire_uint(w, 2, x->size);
	wire_uint(w, 3, x->count);
	wire_uint(w, 4, x->direction);
	wire_bytes(w, 5, x->data, x->data_size);
}

static void put_mmio(struct wire *w, const struct kvmcpu_exit *x)
{
	wire_uint(w, 1, x->address);
	wire_uint(w, 2, x->size);
	wire_uint(w, 3, x->direction);
	wire_bytes(w, 4, x->data, x->data_size);
}

static void put_msr(struct wire *w, const struct kvmcpu_exit *x)
{
	uint64_t value = 0;

	for (size_t i = 0; i < x->data_size && i < 8; i++)
		value |= (uint64_t)x->data[i] << (8 * i);
	wire_uint(w, 1, x->address);
	wire_uint(w, 2, x->direction);
	wire_uint(w, 3, value);
	wire_uint(w, 4, x->msr.reason);
}

static void put_debug(struct wire *w, const struct kvmcpu_exit *x)
{
	wire_uint(w, 1, x->debug.exception);
	wire_uint(w, 2, x->debug.pc);
	wire_uint(w, 3, x->debug.dr6);
	wire_uint(w, 4, x->debug.dr7);
}

static void put_kind(struct wire *w, const struct kvmcpu_exit *x)
{
	switch (x->kind) {
	case KVMCPU_EXIT_PIO:
		put_pio(w, x);
		break;
	case KVMCPU_EXIT_MMIO:
		put_mmio(w, x);
		break;
	case KVMCPU_EXIT_HYPERCALL:
		wire_uint(w, 1, x->address);
		wire_packed(w, 2, x->hypercall.args, 6);
		wire_uint(w, 3, x->hypercall.long_mode);
		break;
	case KVMCPU_EXIT_MSR:
		put_msr(w, x);
		break;
	case KVMCPU_EXIT_SYSTEM_EVENT:
		wire_uint(w, 1, x->system_event.type);
		wire_packed(w, 2, x->system_event.data, x->system_event.n_data);
		break;
	case KVMCPU_EXIT_DEBUG:
		put_debug(w, x);
		break;
	case KVMCPU_EXIT_FAIL_ENTRY:
		wire_uint(w, 1, x->fail_entry.hardware_reason);
		wire_uint(w, 2, x->fail_entry.cpu);
		break;
	case KVMCPU_EXIT_INTERNAL_ERROR:
		wire_uint(w, 1, x->internal_error.suberror);
		wire_packed(w, 2, x->internal_error.data, x->internal_error.n_data);
		break;
	case KVMCPU_EXIT_EXCEPTION:
		wire_uint(w, 1, x->exception.vector);
		wire_uint(w, 2, x->exception.error_code);
		break;
	case KVMCPU_EXIT_UNKNOWN:
		wire_uint(w, 1, x->unknown.reason);
		wire_uint(w, 2, x->unknown.hardware_reason);
		break;
	case KVMCPU_EXIT_NOTICE:
		wire_uint(w, 1, x->notice.code);
		wire_string(w, 2, x->notice.message);
		break;
	case KVMCPU_EXIT_NONE:
	case KVMCPU_EXIT_HALT:
	case KVMCPU_EXIT_IRQ_WINDOW:
	case KVMCPU_EXIT_INTERRUPTED:
	case KVMCPU_EXIT_SHUTDOWN:
		break; /* nothing but the fact */
	}
}

int codec_pack_exit(const struct kvmcpu_exit *x, uint8_t *buf, size_t size)
{
	struct wire w;
	uint8_t *mark;

	wire_init(&w, buf, size);
	wire_uint(&w, 1, x->seq);
	wire_uint(&w, 2, x->vcpu);
	wire_uint(&w, 3, x->tick);
	wire_uint(&w, 4, x->left_ns);
	wire_uint(&w, 5, x->redelivered);
	if (x->kind != KVMCPU_EXIT_NONE) {
		mark = wire_begin(&w, x->kind);
		put_kind(&w, x);
		wire_end(&w, mark);
	}
	return wire_finish(&w);
}

int codec_mark_redelivered(uint8_t *buf, size_t used, size_t size)
{
	struct wire w;

	wire_init(&w, buf, size);
	if (used > size)
		return -ENOSPC;
	w.p += used;
	wire_uint(&w, 5, true);
	return wire_finish(&w);
}

/* Direction, and that a write has all its bytes and a read none. */
static int get_data(const ProtobufCBinaryData *data, unsigned int direction, size_t due,
		    const struct codec_in *in, struct kvmcpu_exit *ret)
{
	if (direction != KVMCPU_READ && direction != KVMCPU_WRITE)
		return codec_fail(in->err, -EPROTO, "%s exit of direction %u",
				  codec_kind_name(ret->kind), direction);
	if (direction == KVMCPU_READ)
		due = 0;
	if (data->len != due)
		return codec_fail(in->err, -EPROTO,
				  "%s exit with %zu bytes of data where %zu are due",
				  codec_kind_name(ret->kind), data->len, due);
	ret->direction = direction;
	ret->data = due ? data->data : NULL;
	ret->data_size = due;
	return 0;
}

static int get_pio(const Kvmcpud__V1__Pio *m, const struct codec_in *in, struct kvmcpu_exit *ret)
{
	if (m->port > 0xffff)
		return codec_fail(in->err, -EPROTO, "pio exit at port 0x%x, past 0xffff", m->port);
	if (m->size != 1 && m->size != 2 && m->size != 4)
		return codec_fail(in->err, -EPROTO, "pio exit of size %u, not 1, 2 or 4", m->size);
	if (!m->count || m->count > KVMCPU_PIO_MAX / m->size)
		return codec_fail(in->err, -EPROTO, "pio exit of %u elements, not 1 to %u",
				  m->count, KVMCPU_PIO_MAX / m->size);
	ret->address = m->port;
	ret->size = m->size;
	ret->count = m->count;
	return get_data(&m->data, m->direction, (size_t)m->size * m->count, in, ret);
}

static int get_mmio(const Kvmcpud__V1__Mmio *m, const struct codec_in *in, struct kvmcpu_exit *ret)
{
	if (!m->size || m->size > 8)
		return codec_fail(in->err, -EPROTO, "mmio exit of size %u, not 1 to 8", m->size);
	ret->address = m->address;
	ret->size = m->size;
	ret->count = 1;
	return get_data(&m->data, m->direction, m->size, in, ret);
}

static int get_hypercall(const Kvmcpud__V1__Hypercall *m, const struct codec_in *in,
			 struct kvmcpu_exit *ret)
{
	if (m->n_args != 6)
		return codec_fail(in->err, -EPROTO, "hypercall exit with %zu arguments, not 6",
				  m->n_args);
	ret->address = m->number;
	memcpy(ret->hypercall.args, m->args, sizeof(ret->hypercall.args));
	ret->hypercall.long_mode = m->long_mode;
	return 0;
}

static int get_msr(const Kvmcpud__V1__Msr *m, const struct codec_in *in, struct kvmcpu_exit *ret)
{
	ProtobufCBinaryData data = {0};
	unsigned int direction = m->direction;

	if (direction == KVMCPU_WRITE) {
		data.len = 8;
		data.data = codec_arena_alloc(in->arena, 8);
		if (!data.data)
			return codec_fail(in->err, -ENOMEM, "no memory for an msr's value");
		for (size_t i = 0; i < 8; i++)
			data.data[i] = (uint8_t)(m->value >> (8 * i));
	}
	ret->address = m->index;
	ret->size = 8;
	ret->count = 1;
	ret->msr.reason = m->reason;
	return get_data(&data, direction, 8, in, ret);
}

static int get_words(const uint64_t *words, size_t n, const struct codec_in *in,
		     uint64_t *ret_words, uint32_t *ret_n)
{
	if (n > MAX_DATA_WORDS)
		return codec_fail(in->err, -EPROTO,
				  "an exit with %zu words of data, at most %d are allowed", n,
				  MAX_DATA_WORDS);
	if (n)
		memcpy(ret_words, words, n * sizeof(*words));
	*ret_n = (uint32_t)n;
	return 0;
}

static void get_debug(const Kvmcpud__V1__Debug *m, struct kvmcpu_exit *ret)
{
	ret->debug.exception = m->exception;
	ret->debug.pc = m->pc;
	ret->debug.dr6 = m->dr6;
	ret->debug.dr7 = m->dr7;
}

static int get_kind(const Kvmcpud__V1__Exit *m, const struct codec_in *in, struct kvmcpu_exit *ret)
{
	switch (ret->kind) {
	case KVMCPU_EXIT_PIO:
		return get_pio(m->pio, in, ret);
	case KVMCPU_EXIT_MMIO:
		return get_mmio(m->mmio, in, ret);
	case KVMCPU_EXIT_HYPERCALL:
		return get_hypercall(m->hypercall, in, ret);
	case KVMCPU_EXIT_MSR:
		return get_msr(m->msr, in, ret);
	case KVMCPU_EXIT_SYSTEM_EVENT:
		ret->system_event.type = m->system_event->type;
		return get_words(m->system_event->data, m->system_event->n_data, in,
				 ret->system_event.data, &ret->system_event.n_data);
	case KVMCPU_EXIT_DEBUG:
		get_debug(m->debug, ret);
		return 0;
	case KVMCPU_EXIT_FAIL_ENTRY:
		ret->fail_entry.hardware_reason = m->fail_entry->hardware_reason;
		ret->fail_entry.cpu = m->fail_entry->cpu;
		return 0;
	case KVMCPU_EXIT_INTERNAL_ERROR:
		ret->internal_error.suberror = m->internal_error->suberror;
		return get_words(m->internal_error->data, m->internal_error->n_data, in,
				 ret->internal_error.data, &ret->internal_error.n_data);
	case KVMCPU_EXIT_EXCEPTION:
		ret->exception.vector = m->exception->vector;
		ret->exception.error_code = m->exception->error_code;
		return 0;
	case KVMCPU_EXIT_UNKNOWN:
		ret->unknown.reason = m->unknown->reason;
		ret->unknown.hardware_reason = m->unknown->hardware_reason;
		return 0;
	case KVMCPU_EXIT_NOTICE:
		ret->notice.code = (enum kvmcpu_notice)m->notice->code;
		ret->notice.message = codec_clean_text(m->notice->message);
		return 0;
	case KVMCPU_EXIT_HALT:
	case KVMCPU_EXIT_IRQ_WINDOW:
	case KVMCPU_EXIT_INTERRUPTED:
	case KVMCPU_EXIT_SHUTDOWN:
		return 0;
	case KVMCPU_EXIT_NONE:
		break;
	}
	return in->lenient ? 0
			   : codec_fail(in->err, -EPROTO, "exit %llu is of no kind known here",
					(unsigned long long)m->seq);
}

int codec_get_exit(const Kvmcpud__V1__Exit *m, const struct codec_in *in, struct kvmcpu_exit *ret)
{
	int r = codec_check_vcpu(m->vcpu, in->err);

	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	ret->seq = m->seq;
	ret->vcpu = m->vcpu;
	ret->tick = m->tick;
	ret->left_ns = m->left_ns;
	ret->redelivered = m->redelivered;
	ret->kind = (enum kvmcpu_exit_kind)m->kind_case;
	return get_kind(m, in, ret);
}

int codec_unpack_exit(const uint8_t *buf, size_t size, struct codec_arena *a,
		      struct kvmcpu_exit *ret, struct codec_error *err)
{
	struct codec_in in = {.arena = a, .err = err};
	struct codec_scanned room;
	Kvmcpud__V1__Exit scanned, *m = &scanned;
	int r = 0;

	if (!codec_scan_exit(buf, size, a, &scanned, &room))
		r = codec_parse(&kvmcpud__v1__exit__descriptor, buf, size, &in, &m);
	if (r == 0)
		r = codec_get_exit(m, &in, ret);
	if (r == 0 && !ret->seq && ret->kind != KVMCPU_EXIT_NOTICE)
		r = codec_fail(err, -EPROTO, "exit without a seq");
	return r;
}
