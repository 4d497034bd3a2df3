/* SPDX-License-Identifier: MIT
 *
 * The values of the protocol as plain C structures: what an exit is, what a
 * reply is, who claims what, and what the daemon tells of itself. The daemon
 * and libkvmcpu share them; the schema in proto/kvmcpud/v1 says what each field
 * means where a name here does not say it all. Enumerators have the schema's
 * numbers.
 *
 * Strings and byte ranges are borrowed: who hands a structure over says how
 * long they live. Nothing here owns memory.
 *
 * ABI: structures grow at their end only, and only with a new soname as long as
 * the library is below version 1.0.
 */
#ifndef KVMCPU_TYPES_H
#define KVMCPU_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The protocol's version, see the version rule in hello.proto. */
#define KVMCPU_PROTOCOL_MAJOR 1
#define KVMCPU_PROTOCOL_MINOR 1

#define KVMCPU_MAX_VCPUS 64		    /* a vCPU set is one 64-bit mask */
#define KVMCPU_MAX_CLAIMS 16384		    /* of one client; picked, not tuned */
#define KVMCPU_MAX_EFFECTS 64		    /* of one reply; picked, not tuned */
#define KVMCPU_MAX_NAME 64		    /* bytes of a client's or claim's name */
#define KVMCPU_MAX_REASON 200		    /* bytes of a stop reason */
#define KVMCPU_MAX_FILTER 64		    /* entries of each list of a filter */
#define KVMCPU_MAX_EFFECT_DATA 32768	    /* bytes of a memory effect */
#define KVMCPU_MAX_MEMORY_CALL 524288	    /* bytes of one read or write call */
#define KVMCPU_MAX_STOP_CODE 63		    /* sysexits(3) begin at 64 */
#define KVMCPU_DEVICE_FRAME_MAX 65536	    /* bytes, device.sock */
#define KVMCPU_CONTROL_FRAME_MAX (1u << 20) /* bytes, the other two */
#define KVMCPU_HELLO_FRAME_MAX (1u << 20)   /* bytes, the first frame on each */
#define KVMCPU_PIO_MAX 4096		    /* bytes: the page that KVM hands out */

/* A guest-physical address: not a pointer of this process. */
typedef uint64_t kvmcpu_gpa_t;

enum kvmcpu_exit_kind {
	KVMCPU_EXIT_NONE = 0,
	KVMCPU_EXIT_PIO = 8,
	KVMCPU_EXIT_MMIO = 9,
	KVMCPU_EXIT_HYPERCALL = 10,
	KVMCPU_EXIT_HALT = 11,
	KVMCPU_EXIT_MSR = 12,
	KVMCPU_EXIT_IRQ_WINDOW = 16,
	KVMCPU_EXIT_INTERRUPTED = 17,
	KVMCPU_EXIT_SHUTDOWN = 18,
	KVMCPU_EXIT_SYSTEM_EVENT = 19,
	KVMCPU_EXIT_DEBUG = 20,
	KVMCPU_EXIT_FAIL_ENTRY = 21,
	KVMCPU_EXIT_INTERNAL_ERROR = 22,
	KVMCPU_EXIT_EXCEPTION = 23,
	KVMCPU_EXIT_UNKNOWN = 24,
	KVMCPU_EXIT_NOTICE = 31, /* no exit: the daemon's last words */
};

enum kvmcpu_direction { KVMCPU_READ = 1, KVMCPU_WRITE = 2 };

enum kvmcpu_space {
	KVMCPU_SPACE_PIO = 1,
	KVMCPU_SPACE_MMIO = 2,
	KVMCPU_SPACE_HYPERCALL = 3,
	KVMCPU_SPACE_MSR = 4,
	KVMCPU_SPACE_HALT = 5,
};

enum kvmcpu_notice {
	KVMCPU_NOTICE_STOPPED = 1,
	KVMCPU_NOTICE_PROTOCOL = 2,
	KVMCPU_NOTICE_RESET = 3
};

/* One access of a vCPU that a device answers. */
struct kvmcpu_exit {
	uint64_t seq;
	uint64_t tick;
	uint64_t left_ns;
	uint32_t vcpu;
	bool redelivered;
	enum kvmcpu_exit_kind kind;

	/* PIO, MMIO and MSR. A hypercall has its number as the address. */
	enum kvmcpu_direction direction;
	uint64_t address;
	uint32_t size;	     /* bytes of one element; MSR: 8; hypercall: not used */
	uint32_t count;	     /* elements; more than 1 for string PIO only */
	const uint8_t *data; /* of a write: size * count bytes; else NULL */
	size_t data_size;

	union {
		struct {
			uint64_t args[6]; /* rdi, rsi, rdx, r10, r8, r9 */
			bool long_mode;
		} hypercall;
		struct {
			uint32_t reason; /* KVM_MSR_EXIT_REASON_* */
		} msr;
		struct {
			uint32_t type; /* KVM_SYSTEM_EVENT_* */
			uint32_t n_data;
			uint64_t data[16];
		} system_event;
		struct {
			uint32_t exception;
			uint64_t pc, dr6, dr7;
		} debug;
		struct {
			uint64_t hardware_reason;
			uint32_t cpu;
		} fail_entry;
		struct {
			uint32_t suberror;
			uint32_t n_data;
			uint64_t data[16];
		} internal_error;
		struct {
			uint32_t vector, error_code;
		} exception;
		struct {
			uint32_t reason; /* KVM_EXIT_*, by number */
			uint64_t hardware_reason;
		} unknown;
		struct {
			enum kvmcpu_notice code;
			const char *message;
		} notice;
	};
};

enum kvmcpu_reply_status { KVMCPU_REPLY_OK = 1, KVMCPU_REPLY_BUS_ERROR = 2 };

enum kvmcpu_effect_kind {
	KVMCPU_EFFECT_SET_IRQ_LINE = 1,
	KVMCPU_EFFECT_INTERRUPT = 2,
	KVMCPU_EFFECT_NMI = 3,
	KVMCPU_EFFECT_WRITE_MEMORY = 4,
	KVMCPU_EFFECT_WAKE = 5,
	KVMCPU_EFFECT_STOP_VM = 6,
	KVMCPU_EFFECT_END_RUN = 7,
};

/* What a device does to the VM. */
struct kvmcpu_effect {
	enum kvmcpu_effect_kind kind;
	union {
		struct {
			uint32_t gsi; /* 0 to 23 */
			bool level;
			uint64_t decided_ns; /* CLOCK_MONOTONIC; 0: on arrival */
		} irq_line;
		struct {
			uint32_t vcpu;
			uint32_t vector; /* 32 to 255; with INTERRUPT only */
		} cpu;			 /* INTERRUPT, NMI, WAKE */
		struct {
			kvmcpu_gpa_t address;
			const uint8_t *data;
			size_t size; /* 1 to KVMCPU_MAX_EFFECT_DATA */
		} memory;
		struct {
			uint32_t code;	    /* 0 to KVMCPU_MAX_STOP_CODE */
			const char *reason; /* NULL or "" for none */
			bool reset;	    /* start again, if the daemon is told to */
		} stop;
	};
};

/* The answer to one exit. */
struct kvmcpu_reply {
	uint64_t seq;
	enum kvmcpu_reply_status status; /* 0 counts as OK */
	const uint8_t *data;
	size_t data_size;
	uint64_t ticks;
	const struct kvmcpu_effect *effects;
	size_t n_effects;
};

enum kvmcpu_absence { KVMCPU_ABSENCE_FREEZE = 1, KVMCPU_ABSENCE_FILL = 2 };

struct kvmcpu_claim {
	enum kvmcpu_space space;
	uint64_t first, last; /* both inclusive */
	const char *name;     /* NULL or "": the client's */
	enum kvmcpu_absence absence;
	uint64_t fill;
};

enum kvmcpu_role { KVMCPU_ROLE_DEVICE = 1, KVMCPU_ROLE_MONITOR = 2, KVMCPU_ROLE_CONTROL = 3 };

struct kvmcpu_range {
	enum kvmcpu_space space;
	uint64_t first, last;
};

/* Which events a monitor wants; empty lists do not narrow. */
struct kvmcpu_filter {
	uint64_t vcpu_mask; /* bit n: vCPU n; 0: all */
	uint32_t kind_mask; /* bit n: enum kvmcpu_exit_kind n; 0: all */
	bool no_states;
	size_t n_ranges;
	struct kvmcpu_range ranges[KVMCPU_MAX_FILTER];
};

struct kvmcpu_hello {
	uint32_t major, minor;
	const char *client;
	bool takes_descriptors;
	enum kvmcpu_role role;
	struct { /* device */
		const struct kvmcpu_claim *claims;
		size_t n_claims;
		uint64_t vcpu_mask; /* 0: all */
	} device;
	struct {
		struct kvmcpu_filter filter;
		bool want_memory;
	} monitor;
};

enum kvmcpu_irqchip { KVMCPU_IRQCHIP_NONE = 1, KVMCPU_IRQCHIP_KERNEL = 2 };

struct kvmcpu_vm_info {
	const char *name;
	uint32_t vcpus;
	enum kvmcpu_irqchip irqchip;
	uint64_t memory_bytes;
	uint64_t ticks_per_second;
	uint64_t instance; /* another one after each start and reset; not 0 */
};

struct kvmcpu_memory_region {
	kvmcpu_gpa_t address;
	uint64_t size_bytes;
	uint64_t offset; /* in the memory's descriptor */
	bool read_only;
};

struct kvmcpu_memory_map {
	const struct kvmcpu_memory_region *regions;
	size_t n_regions;
	bool descriptor_follows;
};

enum kvmcpu_hello_status {
	KVMCPU_HELLO_OK = 1,
	KVMCPU_HELLO_VERSION = 2,
	KVMCPU_HELLO_INVALID = 3,
	KVMCPU_HELLO_OVERLAP = 4,
	KVMCPU_HELLO_LIMIT = 5,
	KVMCPU_HELLO_PERMISSION = 6,
};

struct kvmcpu_hello_reply {
	enum kvmcpu_hello_status status;
	const char *message;
	uint32_t major, minor;
	const char *daemon_version;
	struct kvmcpu_vm_info vm;
	uint32_t client_id;
	bool has_memory;
	struct kvmcpu_memory_map memory;
};

enum kvmcpu_vcpu_state {
	KVMCPU_VCPU_IDLE = 1,
	KVMCPU_VCPU_RUNNING = 2,
	KVMCPU_VCPU_RUNNING_SERVICE = 3,
	KVMCPU_VCPU_RUNNING_SERVICE_COMPLETION = 4,
	KVMCPU_VCPU_WAITING_REPLY = 5,
	KVMCPU_VCPU_STOPPED = 6,
};

struct kvmcpu_register {
	const char *name;
	uint64_t value;
	const uint8_t *bytes; /* of one larger than 64 bits, else NULL */
	size_t size;
};

struct kvmcpu_register_group {
	const char *name;
	const char *error; /* NULL or "" where nothing was refused */
	const struct kvmcpu_register *registers;
	size_t n_registers;
};

struct kvmcpu_dump {
	uint32_t vcpu;
	bool access_pending;
	uint64_t tick;
	const struct kvmcpu_register_group *groups;
	size_t n_groups;
	kvmcpu_gpa_t code_address;
	const uint8_t *code;
	size_t code_size;
	const char *cause;
};

enum kvmcpu_answerer {
	KVMCPU_ANSWERED_BY_CLIENT = 1,
	KVMCPU_ANSWERED_BY_FILL = 2,
	KVMCPU_ANSWERED_BY_NOBODY = 3,
	KVMCPU_ANSWERED_BY_DAEMON = 4,
};

enum kvmcpu_event_kind {
	KVMCPU_EVENT_EXIT = 3,
	KVMCPU_EVENT_STATE = 4,
	KVMCPU_EVENT_LOSS = 100, /* made from a batch's losses: seq is the first lost */
};

/* One thing that a monitor sees. */
struct kvmcpu_event {
	enum kvmcpu_event_kind kind;
	uint64_t seq;
	uint32_t vcpu;
	union {
		struct {
			struct kvmcpu_exit exit;
			struct kvmcpu_reply reply;
			/* after exit.left_ns */
			uint64_t sent_after_ns, replied_after_ns, reentered_after_ns;
			enum kvmcpu_answerer answered_by;
			uint32_t claim_id, client_id;
			const struct kvmcpu_dump *dump; /* NULL unless fatal */
			/* What the clock has gained since the exit before. */
			uint64_t executed_ticks, idle_ticks;
		} exit;
		struct {
			enum kvmcpu_vcpu_state from, to;
			uint64_t at_ns, tick, exit_seq;
			bool paused;
		} state;
		struct {
			uint64_t count;
		} loss;
	};
};

enum kvmcpu_wait_cause {
	KVMCPU_WAIT_NONE = 0,
	KVMCPU_WAIT_REPLY = 1,
	KVMCPU_WAIT_TURN = 2,
	KVMCPU_WAIT_ABSENT = 3,
};

struct kvmcpu_vcpu_status {
	uint32_t vcpu;
	enum kvmcpu_vcpu_state state;
	bool paused;
	uint64_t tick;
	uint64_t exit_seq;
	const char *stop_reason; /* NULL or "" unless stopped */
	uint64_t first_entry_ns;
	uint32_t thread_id;
	bool in_run; /* a run by budget is going */
	struct {     /* cause NONE: it waits for nobody */
		enum kvmcpu_wait_cause cause;
		uint64_t since_ns;
		enum kvmcpu_exit_kind kind;
		enum kvmcpu_direction direction;
		uint64_t exit_seq;
		uint64_t address;
		uint32_t size_bytes;
		uint32_t client_id;
		const char *claim, *client;
	} wait;
};

enum kvmcpu_vm_state { KVMCPU_VM_RUNNING = 1, KVMCPU_VM_PAUSED = 2, KVMCPU_VM_STOPPED = 3 };

struct kvmcpu_status {
	struct kvmcpu_vm_info vm;
	enum kvmcpu_vm_state state;
	uint32_t pid;
	const char *daemon_version;
	uint64_t started_ns, now_ns;
	const struct kvmcpu_vcpu_status *vcpus;
	size_t n_vcpus;
	const char *const *notes;
	size_t n_notes;
	const char *clock; /* what executed ticks are measured by */
};

struct kvmcpu_histogram {
	uint64_t count, sum_ns, min_ns, p50_ns, p90_ns, p99_ns, max_ns;
};

struct kvmcpu_vcpu_stats {
	uint32_t vcpu;
	uint64_t tick;
	uint64_t num_vm_exits, num_vm_half_entries, num_exit_signal;
	uint64_t num_mmio, num_io, num_halt, num_interrupts, num_hypercalls;
	uint64_t num_msr, num_other;
	uint64_t num_unclaimed, num_filled, num_redelivered;
	uint64_t ticks_charged;
	uint64_t num_events, num_events_lost;
	uint64_t io_bytes;
	uint64_t ticks_executed, ticks_idle; /* with ticks_charged, tick */
	uint64_t num_runs;
	uint64_t num_quantum_waits, max_skew_ticks, num_steps;
	struct kvmcpu_histogram to_sent, to_replied, to_reentered;
};

struct kvmcpu_claim_stats {
	uint32_t claim_id;
	enum kvmcpu_space space;
	uint64_t first, last;
	const char *name, *client;
	uint32_t client_id;
	bool absent;
	uint64_t reads, writes, bus_errors, filled, redelivered, ticks_charged;
	struct kvmcpu_histogram service;
};

struct kvmcpu_stats {
	uint64_t now_ns;
	const struct kvmcpu_vcpu_stats *vcpus;
	size_t n_vcpus;
	const struct kvmcpu_claim_stats *claims;
	size_t n_claims;
};

struct kvmcpu_client_info {
	uint32_t client_id;
	enum kvmcpu_role role;
	const char *name;
	uint32_t pid, uid;
	uint64_t connected_ns;
	uint64_t served, lost;
};

struct kvmcpu_claim_info {
	uint32_t claim_id;
	struct kvmcpu_claim claim;
	const char *client;
	uint32_t client_id; /* 0 while the owner is absent */
	uint64_t vcpu_mask;
};

struct kvmcpu_client_list {
	const struct kvmcpu_client_info *clients;
	size_t n_clients;
	const struct kvmcpu_claim_info *claims;
	size_t n_claims;
};

enum kvmcpu_call {
	KVMCPU_CALL_NONE = 0, /* none, or one that this side does not know */
	KVMCPU_CALL_PING = 2,
	KVMCPU_CALL_STATUS = 3,
	KVMCPU_CALL_PAUSE = 4,
	KVMCPU_CALL_RESUME = 5,
	KVMCPU_CALL_STOP = 6,
	KVMCPU_CALL_STATS = 7,
	KVMCPU_CALL_DUMP = 8,
	KVMCPU_CALL_CLIENTS = 9,
	KVMCPU_CALL_READ_MEMORY = 10,
	KVMCPU_CALL_WRITE_MEMORY = 11,
	KVMCPU_CALL_MEMORY_MAP = 12,
	KVMCPU_CALL_SCHEMA = 13,
	KVMCPU_CALL_EFFECT = 14,
	KVMCPU_CALL_RUN = 15,
	KVMCPU_CALL_WAIT_RUN = 16,
	KVMCPU_CALL_CANCEL_RUN = 17,
};

struct kvmcpu_request {
	uint64_t id;
	enum kvmcpu_call call;
	union {
		struct {
			uint64_t vcpu_mask; /* 0: all */
			uint32_t timeout_ms;
		} pause; /* RESUME uses vcpu_mask */
		struct {
			uint32_t code;
			const char *reason;
		} stop;
		struct {
			uint32_t vcpu;
		} dump;
		struct {
			kvmcpu_gpa_t address;
			uint32_t size; /* READ_MEMORY */
			const uint8_t *data;
			size_t data_size; /* WRITE_MEMORY */
		} memory;
		struct kvmcpu_effect effect;
		struct {
			uint64_t vcpu_mask; /* 0: all */
			uint64_t ticks, advance_to_tick;
			bool stop_at_exit, async;
			uint64_t instructions; /* 0: no limit */
		} run;			       /* WAIT_RUN and CANCEL_RUN use vcpu_mask */
	};
};

enum kvmcpu_error_code {
	KVMCPU_ERROR_NONE = 0,
	KVMCPU_ERROR_INVALID = 1,
	KVMCPU_ERROR_RANGE = 2,
	KVMCPU_ERROR_UNSUPPORTED = 3,
	KVMCPU_ERROR_SYSTEM = 4,
	KVMCPU_ERROR_TIMEOUT = 5,
	KVMCPU_ERROR_STATE = 6,
};

/* Why a run by budget ended; control.proto says more. */
enum kvmcpu_run_end {
	KVMCPU_RUN_END_BUDGET = 1,
	KVMCPU_RUN_END_EXIT = 2,
	KVMCPU_RUN_END_HALT = 3,
	KVMCPU_RUN_END_EVENT = 4,
	KVMCPU_RUN_END_CANCELLED = 5,
	KVMCPU_RUN_END_STOPPED = 6,
	KVMCPU_RUN_END_INSTRUCTIONS = 7,
};

struct kvmcpu_vcpu_run {
	uint32_t vcpu;
	enum kvmcpu_run_end end;
	uint64_t tick;					    /* the clock now */
	uint64_t executed_ticks, charged_ticks, idle_ticks; /* in the run */
	uint64_t exit_seq, exits;
	bool in_flight;
	uint64_t instructions; /* completed one by one */
	uint64_t host_ns;
};

struct kvmcpu_run_result {
	const struct kvmcpu_vcpu_run *runs;
	size_t n_runs;
};

enum kvmcpu_result {
	KVMCPU_RESULT_NONE = 0, /* error says why */
	KVMCPU_RESULT_DONE = 3,
	KVMCPU_RESULT_STATUS = 4,
	KVMCPU_RESULT_STATS = 5,
	KVMCPU_RESULT_DUMP = 6,
	KVMCPU_RESULT_CLIENTS = 7,
	KVMCPU_RESULT_MEMORY = 8,
	KVMCPU_RESULT_MEMORY_MAP = 9,
	KVMCPU_RESULT_SCHEMA = 10,
	KVMCPU_RESULT_RUNS = 11,
};

struct kvmcpu_response {
	uint64_t id;
	struct {
		enum kvmcpu_error_code code;
		const char *message;
	} error;
	enum kvmcpu_result result;
	union {
		struct kvmcpu_status status;
		struct kvmcpu_stats stats;
		struct kvmcpu_dump dump;
		struct kvmcpu_client_list clients;
		struct {
			kvmcpu_gpa_t address;
			const uint8_t *data;
			size_t size;
		} memory;
		struct kvmcpu_memory_map memory_map;
		struct {
			const uint8_t *data; /* a FileDescriptorSet */
			size_t size;
		} schema;
		struct kvmcpu_run_result runs;
	};
};

#endif
