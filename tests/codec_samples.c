/* SPDX-License-Identifier: MIT
 *
 * The samples, built from the plain structures.
 */
#include "config.h"

#include "codec_samples.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const uint8_t data8[8] = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7};

static const struct kvmcpu_effect effects[] = {
    {.kind = KVMCPU_EFFECT_SET_IRQ_LINE, .irq_line = {23, true, 0x0123456789abcdef}},
    {.kind = KVMCPU_EFFECT_INTERRUPT, .cpu = {63, 255}},
    {.kind = KVMCPU_EFFECT_NMI, .cpu = {.vcpu = 5}},
    {.kind = KVMCPU_EFFECT_WRITE_MEMORY, .memory = {0x1122334455667788, data8, 7}},
    {.kind = KVMCPU_EFFECT_WAKE, .cpu = {.vcpu = 6}},
    {.kind = KVMCPU_EFFECT_STOP_VM, .stop = {63, "enough", true}},
    {.kind = KVMCPU_EFFECT_END_RUN, .cpu = {.vcpu = 7}},
};

static const struct kvmcpu_reply reply = {
    .seq = 0xfedcba9876543210,
    .status = KVMCPU_REPLY_OK,
    .data = data8,
    .data_size = 8,
    .ticks = UINT64_MAX,
    .effects = effects,
    .n_effects = COUNT(effects),
};

static const struct kvmcpu_register registers[] = {
    {.name = "rax", .value = 0x1234567890},
    {.name = "xsave", .bytes = data8, .size = 6},
};

static const struct kvmcpu_register_group groups[] = {
    {.name = "regs", .registers = registers, .n_registers = COUNT(registers)},
    {.name = "lapic", .error = "there is none"},
};

static const struct kvmcpu_dump dump = {
    .vcpu = 3,
    .access_pending = true,
    .tick = 99,
    .groups = groups,
    .n_groups = COUNT(groups),
    .code_address = 0xfff0,
    .code = data8,
    .code_size = 5,
    .cause = "triple fault",
};

static const struct kvmcpu_vm_info vm = {
    .name = "pc",
    .vcpus = 8,
    .irqchip = KVMCPU_IRQCHIP_KERNEL,
    .memory_bytes = 128 << 20,
    .ticks_per_second = 1000000000,
    .instance = UINT64_MAX,
};

static const struct kvmcpu_memory_region regions[] = {
    {.address = 0, .size_bytes = 1 << 20, .offset = 4096, .read_only = false},
    {.address = 0xfffc0000, .size_bytes = 1 << 18, .offset = 8192, .read_only = true},
};

static const struct kvmcpu_memory_map memory_map = {regions, COUNT(regions), true};

struct kvmcpu_exit sample_exit(enum kvmcpu_exit_kind kind, enum kvmcpu_direction direction)
{
	struct kvmcpu_exit x = {
	    .seq = 1001,
	    .tick = 1002,
	    .left_ns = 1003,
	    .vcpu = 62,
	    .redelivered = true,
	    .kind = kind,
	};

	switch (kind) {
	case KVMCPU_EXIT_PIO:
		x.address = 0xffff;
		x.size = 2;
		x.count = 4;
		break;
	case KVMCPU_EXIT_MMIO:
		x.address = 0xfee00000;
		x.size = 7;
		x.count = 1;
		break;
	case KVMCPU_EXIT_MSR:
		x.address = 0xc0000080;
		x.size = 8;
		x.count = 1;
		x.msr.reason = 2;
		break;
	case KVMCPU_EXIT_HYPERCALL:
		x.address = 11;
		for (unsigned int i = 0; i < 6; i++)
			x.hypercall.args[i] = (uint64_t)i << 60 | i;
		x.hypercall.long_mode = true;
		break;
	case KVMCPU_EXIT_SYSTEM_EVENT:
		x.system_event.type = 2;
		x.system_event.n_data = 16;
		x.system_event.data[15] = 15;
		break;
	case KVMCPU_EXIT_DEBUG:
		x.debug.exception = 3;
		x.debug.pc = 4;
		x.debug.dr6 = 5;
		x.debug.dr7 = 6;
		break;
	case KVMCPU_EXIT_FAIL_ENTRY:
		x.fail_entry.hardware_reason = 0x80000021;
		x.fail_entry.cpu = 1;
		break;
	case KVMCPU_EXIT_INTERNAL_ERROR:
		x.internal_error.suberror = 1;
		x.internal_error.n_data = 2;
		x.internal_error.data[1] = UINT64_MAX;
		break;
	case KVMCPU_EXIT_EXCEPTION:
		x.exception.vector = 14;
		x.exception.error_code = 7;
		break;
	case KVMCPU_EXIT_UNKNOWN:
		x.unknown.reason = 4711;
		x.unknown.hardware_reason = 12;
		break;
	case KVMCPU_EXIT_NOTICE:
		x.notice.code = KVMCPU_NOTICE_PROTOCOL;
		x.notice.message = "no reply was due";
		break;
	default:
		break;
	}
	x.direction = x.size ? direction : 0;
	if (x.direction == KVMCPU_WRITE) {
		x.data = data8;
		x.data_size = (size_t)x.size * x.count;
	}
	return x;
}

static const struct {
	enum kvmcpu_exit_kind kind;
	enum kvmcpu_direction direction;
} exits[] = {
    {KVMCPU_EXIT_PIO, KVMCPU_READ},  {KVMCPU_EXIT_PIO, KVMCPU_WRITE},
    {KVMCPU_EXIT_MMIO, KVMCPU_READ}, {KVMCPU_EXIT_MMIO, KVMCPU_WRITE},
    {KVMCPU_EXIT_MSR, KVMCPU_READ},  {KVMCPU_EXIT_MSR, KVMCPU_WRITE},
    {KVMCPU_EXIT_HYPERCALL, 0},	     {KVMCPU_EXIT_HALT, 0},
    {KVMCPU_EXIT_IRQ_WINDOW, 0},     {KVMCPU_EXIT_INTERRUPTED, 0},
    {KVMCPU_EXIT_SHUTDOWN, 0},	     {KVMCPU_EXIT_SYSTEM_EVENT, 0},
    {KVMCPU_EXIT_DEBUG, 0},	     {KVMCPU_EXIT_FAIL_ENTRY, 0},
    {KVMCPU_EXIT_INTERNAL_ERROR, 0}, {KVMCPU_EXIT_EXCEPTION, 0},
    {KVMCPU_EXIT_UNKNOWN, 0},	     {KVMCPU_EXIT_NOTICE, 0},
};

static int pack_exit(size_t i, struct sample *s)
{
	struct kvmcpu_exit x = sample_exit(exits[i].kind, exits[i].direction);

	return codec_pack_exit(&x, s->bytes, SAMPLE_MAX);
}

static const struct kvmcpu_claim claims[] = {
    {KVMCPU_SPACE_PIO, 0x3f8, 0xffff, "uart", KVMCPU_ABSENCE_FILL, 0xfe},
    {KVMCPU_SPACE_MMIO, 1, UINT64_MAX, "", KVMCPU_ABSENCE_FREEZE, 0},
    {KVMCPU_SPACE_MSR, 2, UINT32_MAX, "msrs", KVMCPU_ABSENCE_FREEZE, 0},
    {KVMCPU_SPACE_HYPERCALL, 3, 3, "calls", KVMCPU_ABSENCE_FREEZE, 0},
    {KVMCPU_SPACE_HALT, 0, 0, "halts", KVMCPU_ABSENCE_FREEZE, 0},
};

static void fill_filter(struct kvmcpu_filter *f)
{
	f->vcpu_mask = 0x8000000000000001;
	f->kind_mask = 1u << KVMCPU_EXIT_PIO | 1u << KVMCPU_EXIT_UNKNOWN;
	f->no_states = true;
	f->n_ranges = 2;
	f->ranges[0] = (struct kvmcpu_range){KVMCPU_SPACE_PIO, 0x60, 0x64};
	f->ranges[1] = (struct kvmcpu_range){KVMCPU_SPACE_MSR, 7, 8};
}

static int pack_hello(size_t i, struct sample *s)
{
	struct kvmcpu_hello h = {
	    .major = KVMCPU_PROTOCOL_MAJOR,
	    .minor = 7,
	    .client = "a client",
	    .takes_descriptors = true,
	    .role = (enum kvmcpu_role)(i + 1),
	};

	if (h.role == KVMCPU_ROLE_DEVICE) {
		h.device.claims = claims;
		h.device.n_claims = COUNT(claims);
		h.device.vcpu_mask = 0x8000000000000002;
	} else if (h.role == KVMCPU_ROLE_MONITOR) {
		h.monitor.want_memory = true;
		fill_filter(&h.monitor.filter);
	}
	return codec_pack_hello(&h, s->bytes, SAMPLE_MAX);
}

static int pack_hello_reply(struct sample *s)
{
	struct kvmcpu_hello_reply r = {
	    .status = KVMCPU_HELLO_OVERLAP,
	    .message = "taken",
	    .major = 1,
	    .minor = 2,
	    .daemon_version = "0.1.0",
	    .vm = vm,
	    .client_id = 3,
	    .has_memory = true,
	    .memory = memory_map,
	};

	return codec_pack_hello_reply(&r, s->bytes, SAMPLE_MAX);
}

static int pack_filter(struct sample *s)
{
	struct kvmcpu_filter f = {0};

	fill_filter(&f);
	return codec_pack_filter(&f, s->bytes, SAMPLE_MAX);
}

static int pack_request(enum kvmcpu_call call, struct sample *s)
{
	struct kvmcpu_request r = {.id = 4242, .call = call};

	switch (call) {
	case KVMCPU_CALL_PAUSE:
		r.pause.timeout_ms = 600000;
		/* fall through */
	case KVMCPU_CALL_RESUME:
		r.pause.vcpu_mask = 0xc;
		break;
	case KVMCPU_CALL_STOP:
		r.stop.code = 9;
		r.stop.reason = "done";
		break;
	case KVMCPU_CALL_DUMP:
		r.dump.vcpu = 63;
		break;
	case KVMCPU_CALL_READ_MEMORY:
		r.memory.address = 0x100000;
		r.memory.size = KVMCPU_MAX_MEMORY_CALL;
		break;
	case KVMCPU_CALL_WRITE_MEMORY:
		r.memory.address = UINT64_MAX - 7;
		r.memory.data = data8;
		r.memory.data_size = 8;
		break;
	case KVMCPU_CALL_EFFECT:
		r.effect = effects[0];
		break;
	case KVMCPU_CALL_RUN:
		r.run.ticks = UINT64_MAX;
		r.run.advance_to_tick = 1;
		r.run.stop_at_exit = r.run.async = true;
		r.run.instructions = 2;
		/* fall through */
	case KVMCPU_CALL_WAIT_RUN:
	case KVMCPU_CALL_CANCEL_RUN:
		r.run.vcpu_mask = 0xa;
		break;
	default:
		break;
	}
	return codec_pack_request(&r, s->bytes, SAMPLE_MAX);
}

static const struct kvmcpu_vcpu_status vcpu_status = {
    .vcpu = 1,
    .state = KVMCPU_VCPU_WAITING_REPLY,
    .paused = true,
    .tick = 2,
    .exit_seq = 3,
    .stop_reason = "strict",
    .first_entry_ns = 4,
    .thread_id = 5,
    .in_run = true,
    .wait =
	{
	    .cause = KVMCPU_WAIT_ABSENT,
	    .since_ns = 6,
	    .kind = KVMCPU_EXIT_PIO,
	    .direction = KVMCPU_READ,
	    .exit_seq = 7,
	    .address = 8,
	    .size_bytes = 9,
	    .client_id = 10,
	    .claim = "cmos",
	    .client = "devices",
	},
};

static const char *const notes[] = {"no PMU", ""};

static const struct kvmcpu_histogram histogram = {1, 2, 3, 4, 5, 6, 7};

static const struct kvmcpu_vcpu_stats vcpu_stats = {
    .vcpu = 1,
    .tick = 2,
    .num_vm_exits = 3,
    .num_vm_half_entries = 4,
    .num_exit_signal = 5,
    .num_mmio = 6,
    .num_io = 7,
    .num_halt = 8,
    .num_interrupts = 9,
    .num_hypercalls = 10,
    .num_msr = 11,
    .num_other = 12,
    .num_unclaimed = 13,
    .num_filled = 14,
    .num_redelivered = 15,
    .ticks_charged = 16,
    .num_events = 17,
    .num_events_lost = 18,
    .io_bytes = 19,
    .ticks_executed = 20,
    .ticks_idle = 21,
    .num_runs = 22,
    .num_quantum_waits = 23,
    .max_skew_ticks = 24,
    .num_steps = 25,
    .to_sent = histogram,
    .to_replied = {.count = 8},
    .to_reentered = {.max_ns = 9},
};

static const struct kvmcpu_claim_stats claim_stats = {
    .claim_id = 1,
    .space = KVMCPU_SPACE_MMIO,
    .first = 2,
    .last = 3,
    .name = "disk",
    .client = "devices",
    .client_id = 4,
    .absent = true,
    .reads = 5,
    .writes = 6,
    .bus_errors = 7,
    .filled = 8,
    .redelivered = 9,
    .ticks_charged = 10,
    .service = histogram,
};

static const struct kvmcpu_client_info client_info = {1, KVMCPU_ROLE_MONITOR, "top", 2, 3, 4, 5, 6};

static const struct kvmcpu_claim_info claim_info = {
    .claim_id = 1,
    .claim = {KVMCPU_SPACE_PIO, 2, 3, "rtc", KVMCPU_ABSENCE_FILL, 4},
    .client = "devices",
    .client_id = 5,
    .vcpu_mask = UINT64_MAX,
};

static void fill_status(struct kvmcpu_status *s)
{
	*s = (struct kvmcpu_status){
	    .vm = vm,
	    .state = KVMCPU_VM_PAUSED,
	    .pid = 1,
	    .daemon_version = "0.1.0",
	    .started_ns = 2,
	    .now_ns = 3,
	    .vcpus = &vcpu_status,
	    .n_vcpus = 1,
	    .notes = notes,
	    .n_notes = COUNT(notes),
	    .clock = "monotonic",
	};
}

static const struct kvmcpu_vcpu_run run = {
    .vcpu = 1,
    .end = KVMCPU_RUN_END_STOPPED,
    .tick = 2,
    .executed_ticks = 3,
    .charged_ticks = 4,
    .idle_ticks = 5,
    .exit_seq = 6,
    .exits = 7,
    .in_flight = true,
    .instructions = 8,
    .host_ns = 9,
};

static int pack_response(enum kvmcpu_result result, struct sample *s)
{
	struct kvmcpu_response r = {.id = 4343, .result = result};

	switch (result) {
	case KVMCPU_RESULT_NONE:
		r.error.code = KVMCPU_ERROR_TIMEOUT;
		r.error.message = "too late";
		break;
	case KVMCPU_RESULT_STATUS:
		fill_status(&r.status);
		break;
	case KVMCPU_RESULT_STATS:
		r.stats = (struct kvmcpu_stats){7, &vcpu_stats, 1, &claim_stats, 1};
		break;
	case KVMCPU_RESULT_DUMP:
		r.dump = dump;
		break;
	case KVMCPU_RESULT_CLIENTS:
		r.clients = (struct kvmcpu_client_list){&client_info, 1, &claim_info, 1};
		break;
	case KVMCPU_RESULT_MEMORY:
		r.memory.address = 1;
		r.memory.data = data8;
		r.memory.size = 8;
		break;
	case KVMCPU_RESULT_MEMORY_MAP:
		r.memory_map = memory_map;
		break;
	case KVMCPU_RESULT_SCHEMA:
		r.schema.data = data8;
		r.schema.size = 3;
		break;
	case KVMCPU_RESULT_RUNS:
		r.runs = (struct kvmcpu_run_result){&run, 1};
		break;
	case KVMCPU_RESULT_DONE:
		break;
	}
	return codec_pack_response(&r, s->bytes, SAMPLE_MAX);
}

/* Packs unpacked events the way the daemon does, part by part. */
static int pack_events(const struct kvmcpu_event *events, size_t n, uint8_t *buf, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		const struct kvmcpu_event *e = &events[i];
		uint8_t event[SAMPLE_MAX], x[SAMPLE_MAX], r[SAMPLE_MAX];
		int length = 0;

		if (e->kind == KVMCPU_EVENT_LOSS) {
			length = codec_put_batch_loss(e->vcpu, e->seq, e->loss.count, buf + used,
						      size - used);
		} else if (e->kind == KVMCPU_EVENT_STATE) {
			length = codec_pack_state_event(e, event, sizeof(event));
		} else {
			int x_size = codec_pack_exit(&e->exit.exit, x, sizeof(x));
			int r_size = codec_pack_reply(&e->exit.reply, r, sizeof(r));
			struct codec_exit_event p = {
			    .seq = e->seq,
			    .vcpu = e->vcpu,
			    .exit = x,
			    .reply = r,
			    .sent_after_ns = e->exit.sent_after_ns,
			    .replied_after_ns = e->exit.replied_after_ns,
			    .reentered_after_ns = e->exit.reentered_after_ns,
			    .answered_by = e->exit.answered_by,
			    .claim_id = e->exit.claim_id,
			    .client_id = e->exit.client_id,
			    .dump = e->exit.dump,
			    .executed_ticks = e->exit.executed_ticks,
			    .idle_ticks = e->exit.idle_ticks,
			};

			if (x_size < 0 || r_size < 0)
				return -ENOSPC;
			p.exit_size = (size_t)x_size;
			p.reply_size = (size_t)r_size;
			length = codec_pack_exit_event(&p, event, sizeof(event));
		}
		if (length >= 0 && e->kind != KVMCPU_EVENT_LOSS)
			length =
			    codec_put_batch_event(event, (size_t)length, buf + used, size - used);
		if (length < 0)
			return length;
		used += (size_t)length;
	}
	return (int)used;
}

static int pack_batch(struct sample *s)
{
	struct kvmcpu_event events[3] = {
	    {.kind = KVMCPU_EVENT_EXIT, .seq = 1, .vcpu = 2},
	    {.kind = KVMCPU_EVENT_STATE,
	     .seq = 3,
	     .vcpu = 4,
	     .state = {KVMCPU_VCPU_IDLE, KVMCPU_VCPU_STOPPED, 5, 6, 7, true}},
	    {.kind = KVMCPU_EVENT_LOSS, .seq = 8, .vcpu = 9, .loss = {10}},
	};

	events[0].exit.exit = sample_exit(KVMCPU_EXIT_PIO, KVMCPU_WRITE);
	events[0].exit.reply = reply;
	events[0].exit.sent_after_ns = 11;
	events[0].exit.replied_after_ns = 12;
	events[0].exit.reentered_after_ns = 13;
	events[0].exit.answered_by = KVMCPU_ANSWERED_BY_DAEMON;
	events[0].exit.claim_id = 14;
	events[0].exit.client_id = 15;
	events[0].exit.dump = &dump;
	events[0].exit.executed_ticks = 16;
	events[0].exit.idle_ticks = 17;
	return pack_events(events, 3, s->bytes, SAMPLE_MAX);
}

/* How many samples each type has, in the order of enum sample_type. */
static const size_t counts[] = {
    [SAMPLE_EXIT] = COUNT(exits),
    [SAMPLE_REPLY] = 1,
    [SAMPLE_HELLO] = 3,
    [SAMPLE_HELLO_REPLY] = 1,
    [SAMPLE_FILTER] = 1,
    [SAMPLE_REQUEST] = KVMCPU_CALL_CANCEL_RUN - KVMCPU_CALL_PING + 1,
    [SAMPLE_RESPONSE] = KVMCPU_RESULT_RUNS - KVMCPU_RESULT_DONE + 2,
    [SAMPLE_BATCH] = 1,
};

static int pack(enum sample_type type, size_t i, struct sample *s)
{
	switch (type) {
	case SAMPLE_EXIT:
		return pack_exit(i, s);
	case SAMPLE_REPLY:
		return codec_pack_reply(&reply, s->bytes, SAMPLE_MAX);
	case SAMPLE_HELLO:
		return pack_hello(i, s);
	case SAMPLE_HELLO_REPLY:
		return pack_hello_reply(s);
	case SAMPLE_FILTER:
		return pack_filter(s);
	case SAMPLE_REQUEST:
		return pack_request((enum kvmcpu_call)(KVMCPU_CALL_PING + i), s);
	case SAMPLE_RESPONSE:
		return pack_response(
		    i ? (enum kvmcpu_result)(KVMCPU_RESULT_DONE + i - 1) : KVMCPU_RESULT_NONE, s);
	case SAMPLE_BATCH:
		return pack_batch(s);
	}
	return -EINVAL;
}

bool sample_get(size_t i, struct sample *ret)
{
	for (size_t type = 0; type < COUNT(counts); type++) {
		if (i < counts[type]) {
			int n = pack((enum sample_type)type, i, ret);

			assert(n >= 0);
			ret->type = (enum sample_type)type;
			ret->size = (size_t)n;
			return true;
		}
		i -= counts[type];
	}
	return false;
}

#define REPACK(what)                                                                   \
	do {                                                                           \
		struct kvmcpu_##what value;                                            \
		int r = codec_unpack_##what(bytes, size, a, &value, err);              \
		if (r < 0)                                                             \
			return r;                                                      \
		return repacked ? codec_pack_##what(&value, repacked, SAMPLE_MAX) : 0; \
	} while (0)

static int repack_filter(const uint8_t *bytes, size_t size, struct codec_arena *a,
			 uint8_t *repacked, struct codec_error *err)
{
	struct kvmcpu_filter f;
	int r = codec_unpack_filter(bytes, size, &f, a, err);

	return r < 0 || !repacked ? r : codec_pack_filter(&f, repacked, SAMPLE_MAX);
}

static int repack_batch(const uint8_t *bytes, size_t size, struct codec_arena *a, uint8_t *repacked,
			struct codec_error *err)
{
	struct kvmcpu_event *events;
	size_t n;
	int r = codec_unpack_batch(bytes, size, a, &events, &n, err);

	return r < 0 || !repacked ? r : pack_events(events, n, repacked, SAMPLE_MAX);
}

int sample_repack(enum sample_type type, const uint8_t *bytes, size_t size, struct codec_arena *a,
		  uint8_t *repacked, struct codec_error *err)
{
	switch (type) {
	case SAMPLE_EXIT:
		REPACK(exit);
	case SAMPLE_REPLY:
		REPACK(reply);
	case SAMPLE_HELLO:
		REPACK(hello);
	case SAMPLE_HELLO_REPLY:
		REPACK(hello_reply);
	case SAMPLE_FILTER:
		return repack_filter(bytes, size, a, repacked, err);
	case SAMPLE_REQUEST:
		REPACK(request);
	case SAMPLE_RESPONSE:
		REPACK(response);
	case SAMPLE_BATCH:
		return repack_batch(bytes, size, a, repacked, err);
	}
	return -EINVAL;
}
