/* SPDX-License-Identifier: MIT
 *
 * The decode table: from KVM's shared page to an exit, and from an answer back.
 * What the fields of struct kvm_run mean is in the kernel's
 * Documentation/virt/kvm/api.rst, section 5.
 */
#include "config.h"

#include "exit.h"

#include <string.h>

#include <linux/kvm.h>

#include "vcpu.h"

static void decode_io(struct kvm_run *run, struct kvmcpu_exit *x)
{
	x->direction = run->io.direction == KVM_EXIT_IO_OUT ? KVMCPU_WRITE : KVMCPU_READ;
	x->address = run->io.port;
	x->size = run->io.size;
	x->count = run->io.count;
	if (x->direction == KVMCPU_WRITE) {
		x->data = (uint8_t *)run + run->io.data_offset;
		x->data_size = (size_t)x->size * x->count;
	}
}

static void finish_io(struct vcpu *v, const struct kvmcpu_exit *x, const uint8_t *data, bool ok)
{
	struct kvm_run *run = v->run;

	if (x->direction == KVMCPU_READ)
		memcpy((uint8_t *)run + run->io.data_offset, data, (size_t)x->size * x->count);
}

static void decode_mmio(struct kvm_run *run, struct kvmcpu_exit *x)
{
	x->direction = run->mmio.is_write ? KVMCPU_WRITE : KVMCPU_READ;
	x->address = run->mmio.phys_addr;
	x->size = run->mmio.len;
	if (run->mmio.is_write) {
		x->data = run->mmio.data;
		x->data_size = x->size;
	}
}

static void finish_mmio(struct vcpu *v, const struct kvmcpu_exit *x, const uint8_t *data, bool ok)
{
	struct kvm_run *run = v->run;

	if (x->direction == KVMCPU_READ)
		memcpy(run->mmio.data, data, x->size);
}

static void decode_hypercall(struct kvm_run *run, struct kvmcpu_exit *x)
{
	x->address = run->hypercall.nr;
	x->size = 8;
	/* KVM_HC_MAP_GPA_RANGE, the only one, has three; KVM leaves the rest as it was. */
	memcpy(x->hypercall.args, run->hypercall.args, 3 * sizeof(x->hypercall.args[0]));
	x->hypercall.long_mode = run->hypercall.longmode;
}

static void finish_hypercall(struct vcpu *v, const struct kvmcpu_exit *x, const uint8_t *data,
			     bool ok)
{
	struct kvm_run *run = v->run;

	memcpy(&run->hypercall.ret, data, sizeof(run->hypercall.ret));
}

static void decode_msr(struct kvm_run *run, struct kvmcpu_exit *x)
{
	x->direction = run->exit_reason == KVM_EXIT_X86_WRMSR ? KVMCPU_WRITE : KVMCPU_READ;
	x->address = run->msr.index;
	x->size = 8;
	x->msr.reason = run->msr.reason;
	if (x->direction == KVMCPU_WRITE) {
		x->data = (uint8_t *)&run->msr.data;
		x->data_size = sizeof(run->msr.data);
	}
}

static void finish_msr(struct vcpu *v, const struct kvmcpu_exit *x, const uint8_t *data, bool ok)
{
	struct kvm_run *run = v->run;

	run->msr.error = !ok;
	if (x->direction == KVMCPU_READ)
		memcpy(&run->msr.data, data, sizeof(run->msr.data));
}

static void decode_system_event(struct kvm_run *run, struct kvmcpu_exit *x)
{
	x->system_event.type = run->system_event.type;
	x->system_event.n_data = run->system_event.ndata < 16 ? run->system_event.ndata : 16;
	memcpy(x->system_event.data, run->system_event.data, x->system_event.n_data * 8);
}

static void decode_debug(struct kvm_run *run, struct kvmcpu_exit *x)
{
	x->debug.exception = run->debug.arch.exception;
	x->debug.pc = run->debug.arch.pc;
	x->debug.dr6 = run->debug.arch.dr6;
	x->debug.dr7 = run->debug.arch.dr7;
}

static void decode_fail_entry(struct kvm_run *run, struct kvmcpu_exit *x)
{
	x->fail_entry.hardware_reason = run->fail_entry.hardware_entry_failure_reason;
	x->fail_entry.cpu = run->fail_entry.cpu;
}

static void decode_internal_error(struct kvm_run *run, struct kvmcpu_exit *x)
{
	x->internal_error.suberror = run->internal.suberror;
	x->internal_error.n_data = run->internal.ndata < 16 ? run->internal.ndata : 16;
	memcpy(x->internal_error.data, run->internal.data, x->internal_error.n_data * 8);
}

static void decode_exception(struct kvm_run *run, struct kvmcpu_exit *x)
{
	x->exception.vector = run->ex.exception;
	x->exception.error_code = run->ex.error_code;
}

static void decode_unknown(struct kvm_run *run, struct kvmcpu_exit *x)
{
	x->unknown.reason = run->exit_reason;
	if (run->exit_reason == KVM_EXIT_UNKNOWN)
		x->unknown.hardware_reason = run->hw.hardware_exit_reason;
}

static void decode_nothing(struct kvm_run *run, struct kvmcpu_exit *x)
{
}

#define ASK(kind, space, name)                                         \
	{                                                              \
		kind, space, true, false, decode_##name, finish_##name \
	}
#define OURS(kind)                                          \
	{                                                   \
		kind, 0, false, false, decode_nothing, NULL \
	}
#define FATAL(kind, name)                                 \
	{                                                 \
		kind, 0, false, true, decode_##name, NULL \
	}

static const struct exit_type types[] = {
    [KVM_EXIT_IO] = ASK(KVMCPU_EXIT_PIO, KVMCPU_SPACE_PIO, io),
    [KVM_EXIT_MMIO] = ASK(KVMCPU_EXIT_MMIO, KVMCPU_SPACE_MMIO, mmio),
    [KVM_EXIT_HYPERCALL] = ASK(KVMCPU_EXIT_HYPERCALL, KVMCPU_SPACE_HYPERCALL, hypercall),
    [KVM_EXIT_X86_RDMSR] = ASK(KVMCPU_EXIT_MSR, KVMCPU_SPACE_MSR, msr),
    [KVM_EXIT_X86_WRMSR] = ASK(KVMCPU_EXIT_MSR, KVMCPU_SPACE_MSR, msr),
    [KVM_EXIT_HLT] = {KVMCPU_EXIT_HALT, KVMCPU_SPACE_HALT, false, false, decode_nothing, NULL},
    [KVM_EXIT_IRQ_WINDOW_OPEN] = OURS(KVMCPU_EXIT_IRQ_WINDOW),
    [KVM_EXIT_INTR] = OURS(KVMCPU_EXIT_INTERRUPTED),
    [KVM_EXIT_SHUTDOWN] = FATAL(KVMCPU_EXIT_SHUTDOWN, nothing),
    [KVM_EXIT_SYSTEM_EVENT] = FATAL(KVMCPU_EXIT_SYSTEM_EVENT, system_event),
    [KVM_EXIT_DEBUG] = FATAL(KVMCPU_EXIT_DEBUG, debug),
    [KVM_EXIT_FAIL_ENTRY] = FATAL(KVMCPU_EXIT_FAIL_ENTRY, fail_entry),
    [KVM_EXIT_INTERNAL_ERROR] = FATAL(KVMCPU_EXIT_INTERNAL_ERROR, internal_error),
    [KVM_EXIT_EXCEPTION] = FATAL(KVMCPU_EXIT_EXCEPTION, exception),
};
static const struct exit_type unknown = FATAL(KVMCPU_EXIT_UNKNOWN, unknown);

const struct exit_type *exit_type_of(uint32_t reason)
{
	if (reason >= sizeof(types) / sizeof(types[0]) || types[reason].decode == NULL)
		return &unknown;
	return &types[reason];
}
