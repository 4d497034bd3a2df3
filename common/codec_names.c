/* SPDX-License-Identifier: MIT
 *
 * Names of enumerators: the schema's field and enumerator names in lower case.
 * The tables are indexed by the number, so a new kind needs one line.
 */
#include "config.h"

#include "codec_internal.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* types.h promises the schema's numbers. Spot checks at both ends of each. */
_Static_assert((int)KVMCPU_EXIT_PIO == (int)KVMCPUD__V1__EXIT__KIND_PIO, "numbers of kinds");
_Static_assert((int)KVMCPU_EXIT_UNKNOWN == (int)KVMCPUD__V1__EXIT__KIND_UNKNOWN,
	       "numbers of kinds");
_Static_assert((int)KVMCPU_EXIT_NOTICE == (int)KVMCPUD__V1__EXIT__KIND_NOTICE, "numbers of kinds");
_Static_assert((int)KVMCPU_EFFECT_SET_IRQ_LINE == (int)KVMCPUD__V1__EFFECT__KIND_SET_IRQ_LINE,
	       "numbers of effects");
_Static_assert((int)KVMCPU_EFFECT_STOP_VM == (int)KVMCPUD__V1__EFFECT__KIND_STOP_VM,
	       "numbers of effects");
_Static_assert((int)KVMCPU_SPACE_HALT == (int)KVMCPUD__V1__SPACE__SPACE_HALT, "numbers of spaces");
_Static_assert((int)KVMCPU_VCPU_STOPPED == (int)KVMCPUD__V1__VCPU_STATE__VCPU_STATE_STOPPED,
	       "numbers of states");

static const char *const kind_names[] = {
    [KVMCPU_EXIT_PIO] = "pio",
    [KVMCPU_EXIT_MMIO] = "mmio",
    [KVMCPU_EXIT_HYPERCALL] = "hypercall",
    [KVMCPU_EXIT_HALT] = "halt",
    [KVMCPU_EXIT_MSR] = "msr",
    [KVMCPU_EXIT_IRQ_WINDOW] = "irq_window",
    [KVMCPU_EXIT_INTERRUPTED] = "interrupted",
    [KVMCPU_EXIT_SHUTDOWN] = "shutdown",
    [KVMCPU_EXIT_SYSTEM_EVENT] = "system_event",
    [KVMCPU_EXIT_DEBUG] = "debug",
    [KVMCPU_EXIT_FAIL_ENTRY] = "fail_entry",
    [KVMCPU_EXIT_INTERNAL_ERROR] = "internal_error",
    [KVMCPU_EXIT_EXCEPTION] = "exception",
    [KVMCPU_EXIT_UNKNOWN] = "unknown",
    [KVMCPU_EXIT_NOTICE] = "notice",
};

static const char *const state_names[] = {
    [KVMCPU_VCPU_IDLE] = "idle",
    [KVMCPU_VCPU_RUNNING] = "running",
    [KVMCPU_VCPU_RUNNING_SERVICE] = "running_service",
    [KVMCPU_VCPU_RUNNING_SERVICE_COMPLETION] = "running_service_completion",
    [KVMCPU_VCPU_WAITING_REPLY] = "waiting_reply",
    [KVMCPU_VCPU_STOPPED] = "stopped",
};

static const char *const space_names[] = {
    [KVMCPU_SPACE_PIO] = "pio",
    [KVMCPU_SPACE_MMIO] = "mmio",
    [KVMCPU_SPACE_HYPERCALL] = "hypercall",
    [KVMCPU_SPACE_MSR] = "msr",
    [KVMCPU_SPACE_HALT] = "halt",
};

static const char *const role_names[] = {
    [KVMCPU_ROLE_DEVICE] = "device",
    [KVMCPU_ROLE_MONITOR] = "monitor",
    [KVMCPU_ROLE_CONTROL] = "control",
};

static const char *const wait_names[] = {
    [KVMCPU_WAIT_NONE] = "none",
    [KVMCPU_WAIT_REPLY] = "reply",
    [KVMCPU_WAIT_TURN] = "turn",
    [KVMCPU_WAIT_ABSENT] = "absent",
};

static const char *const answerer_names[] = {
    [KVMCPU_ANSWERED_BY_CLIENT] = "client",
    [KVMCPU_ANSWERED_BY_FILL] = "fill",
    [KVMCPU_ANSWERED_BY_NOBODY] = "unclaimed",
    [KVMCPU_ANSWERED_BY_DAEMON] = "daemon",
};

static const char *name_of(const char *const *names, size_t n, unsigned int number)
{
	return number < n && names[number] ? names[number] : "?";
}

static unsigned int number_of(const char *const *names, size_t n, const char *name)
{
	for (unsigned int i = 0; i < n; i++)
		if (names[i] && strcmp(names[i], name) == 0)
			return i;
	return 0;
}

const char *codec_kind_name(enum kvmcpu_exit_kind kind)
{
	return name_of(kind_names, COUNT(kind_names), kind);
}

const char *codec_state_name(enum kvmcpu_vcpu_state state)
{
	return name_of(state_names, COUNT(state_names), state);
}

const char *codec_space_name(enum kvmcpu_space space)
{
	return name_of(space_names, COUNT(space_names), space);
}

const char *codec_role_name(enum kvmcpu_role role)
{
	return name_of(role_names, COUNT(role_names), role);
}

const char *codec_wait_name(enum kvmcpu_wait_cause cause)
{
	return name_of(wait_names, COUNT(wait_names), cause);
}

const char *codec_answerer_name(enum kvmcpu_answerer answerer)
{
	return name_of(answerer_names, COUNT(answerer_names), answerer);
}

enum kvmcpu_exit_kind codec_kind_by_name(const char *name)
{
	return (enum kvmcpu_exit_kind)number_of(kind_names, COUNT(kind_names), name);
}

enum kvmcpu_space codec_space_by_name(const char *name)
{
	return (enum kvmcpu_space)number_of(space_names, COUNT(space_names), name);
}
