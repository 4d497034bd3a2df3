/* SPDX-License-Identifier: MIT
 *
 * The registers come with the exit, in the page that KVM shares (KVM_CAP_SYNC_REGS), and
 * the result goes back by it, so that a call takes no further system call. KVM copies
 * them at every exit while it is told to, so it is told from a vCPU's first call on: guests
 * that make none do not pay, and the first one is fetched by ioctl.
 *
 * The registers are those of Linux's system calls. So rcx is free, for the index of the
 * MSR, and rdx is not, hence the port stands in the instruction. Outside of 64-bit mode
 * there is no more than the lower half of a register, and no r8 to r10.
 */
#include "config.h"

#include "hypercall.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/kvm.h>
#include <linux/kvm_para.h>

#include "exit.h"
#include "msr_filter.h"
#include "probe.h"
#include "vcpu.h"
#include "vm.h"

#define NEEDED (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS)
#define HANDED_OUT (1u << KVM_HC_MAP_GPA_RANGE) /* the one call that KVM lets out */
#define EFER_LMA (1ull << 10)

/* With interrupt controllers in the kernel, 32-bit writes to these end there: the PIT's
 * registers and the speaker's, the IO-APIC, the local APIC. */
static int check_write(struct vm *vm, struct fault *f)
{
	static const struct hypercall_way taken[] = {
	    {KVMCPU_EXIT_PIO, 0x40},
	    {KVMCPU_EXIT_PIO, 0x61},
	    {KVMCPU_EXIT_MMIO, 0xfec00000},
	    {KVMCPU_EXIT_MMIO, 0xfee00000},
	};
	const struct hypercall_way *way = &vm->options->hypercall;
	bool pio = way->kind == KVMCPU_EXIT_PIO;
	uint64_t at = pio ? way->address : way->address & ~0xfffull;

	if (vm->options->irqchip == KVMCPU_IRQCHIP_NONE)
		return 0;
	for (unsigned i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (taken[i].kind == way->kind && taken[i].address == at)
			return fault_set(f, STATUS_USAGE,
					 "--hypercall %s:0x%llx: with --irqchip kernel that is one "
					 "of KVM's own registers; use pio:0xe4",
					 pio ? "pio" : "mmio", (unsigned long long)way->address);
	return 0;
}

static int check_mmio(struct vm *vm, struct fault *f)
{
	kvmcpu_gpa_t at = vm->options->hypercall.address;

	if (memory_at(&vm->memory, at, sizeof(uint32_t), true) == NULL)
		return check_write(vm, f);
	return fault_set(f, STATUS_USAGE,
			 "--hypercall mmio:0x%llx: that is RAM, and a write to RAM does not leave "
			 "the guest; give an address behind it",
			 (unsigned long long)at);
}

static int check_msr(struct vm *vm, struct fault *f)
{
	uint64_t index = vm->options->hypercall.address;

	if (index >= X2APIC_FIRST && index <= X2APIC_LAST)
		return fault_set(f, STATUS_USAGE,
				 "--hypercall msr:0x%llx: KVM keeps msr 0x800-0x8ff, the local "
				 "APIC's, to itself; give another",
				 (unsigned long long)index);
	if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_USER_SPACE_MSR) > 0 &&
	    ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_MSR_FILTER) > 0)
		return 0;
	return fault_set(f, STATUS_NO_KVM,
			 "--hypercall msr:0x%llx: this KVM lacks KVM_CAP_X86_USER_SPACE_MSR or "
			 "KVM_CAP_X86_MSR_FILTER; use pio:0xe4",
			 (unsigned long long)index);
}

static int check_instruction(struct vm *vm, struct fault *f)
{
	int known = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_EXIT_HYPERCALL), r;

	if (known <= 0 || !(known & HANDED_OUT))
		return fault_set(f, STATUS_NO_KVM,
				 "--hypercall vmcall: this KVM lacks KVM_CAP_EXIT_HYPERCALL and "
				 "answers the instruction by itself; use pio:0xe4");
	r = x86_hands_out_hypercalls(vm->kvm_fd);
	if (r < 1)
		return fault_set(f, STATUS_NO_KVM,
				 "--hypercall vmcall: this KVM claims KVM_CAP_EXIT_HYPERCALL, but "
				 "%s; use pio:0xe4",
				 r == 0	       ? "answers the instruction by itself"
				 : r == -ETIME ? "a guest does not come back from the instruction"
					       : "a guest that tried it failed");
	return 0;
}

int x86_hypercall_enable(const struct vm *vm, struct fault *f)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_EXIT_HYPERCALL, .args[0] = HANDED_OUT};

	if (vm->options->hypercall.kind != KVMCPU_EXIT_HYPERCALL ||
	    ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0)
		return 0;
	return fault_set(f, STATUS_NO_KVM,
			 "--hypercall vmcall: KVM refuses KVM_CAP_EXIT_HYPERCALL: %s",
			 strerror(errno));
}

int x86_hypercall_check(struct vm *vm, struct fault *f)
{
	int fields = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS);

	vm->has_sync_regs = fields > 0 && (fields & NEEDED) == NEEDED;
	switch (vm->options->hypercall.kind) {
	case KVMCPU_EXIT_PIO:
		return check_write(vm, f);
	case KVMCPU_EXIT_MMIO:
		return check_mmio(vm, f);
	case KVMCPU_EXIT_MSR:
		return check_msr(vm, f);
	case KVMCPU_EXIT_HYPERCALL:
		return check_instruction(vm, f);
	default:
		return 0;
	}
}

/* Puts the registers into the shared page, where KVM has not done so. */
static int fetch(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	if ((run->kvm_valid_regs & NEEDED) == NEEDED)
		return 0;
	if (ioctl(v->fd, KVM_GET_REGS, &run->s.regs.regs) < 0)
		return -1;
	return ioctl(v->fd, KVM_GET_SREGS, &run->s.regs.sregs);
}

static void finish(struct vcpu *v, const struct kvmcpu_exit *x, const uint8_t *data, bool ok)
{
	struct kvm_run *run = v->run;

	memcpy(&run->s.regs.regs.rax, data, sizeof(run->s.regs.regs.rax));
	if (v->vm->has_sync_regs)
		run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	else
		(void)ioctl(v->fd, KVM_SET_REGS, &run->s.regs.regs); /* they are KVM's own */
}

static const struct exit_type by_write = {
    .kind = KVMCPU_EXIT_HYPERCALL,
    .space = KVMCPU_SPACE_HYPERCALL,
    .completes = true,
    .finish = finish,
};

static bool is_call(const struct hypercall_way *way, const struct kvmcpu_exit *x)
{
	return x->kind == way->kind && x->address == way->address && x->direction == KVMCPU_WRITE &&
	       x->count == 1 && x->size == (x->kind == KVMCPU_EXIT_MSR ? 8 : 4);
}

static void make_call(struct kvmcpu_exit *x, const struct kvm_sync_regs *s)
{
	const struct kvm_regs *r = &s->regs;
	const uint64_t args[6] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};
	bool long_mode = (s->sregs.efer & EFER_LMA) && s->sregs.cs.l;
	uint64_t mask = long_mode ? UINT64_MAX : UINT32_MAX;

	x->kind = KVMCPU_EXIT_HYPERCALL;
	x->direction = 0;
	x->address = r->rax & mask;
	x->size = 8;
	x->data = NULL;
	x->data_size = 0;
	x->hypercall.long_mode = long_mode;
	for (int i = 0; i < 6; i++)
		x->hypercall.args[i] = args[i] & mask;
}

const struct exit_type *x86_hypercall_take(struct vcpu *v, const struct exit_type *type,
					   struct kvmcpu_exit *x)
{
	if (!is_call(&v->vm->options->hypercall, x))
		return type;
	if (!claims_any(&v->vm->claims, &v->hold, v->index, KVMCPU_SPACE_HYPERCALL)) {
		v->run->kvm_valid_regs = 0;
		return type;
	}
	if (fetch(v) < 0)
		return type;
	if (v->vm->has_sync_regs)
		v->run->kvm_valid_regs = NEEDED;
	make_call(x, &v->run->s.regs);
	return &by_write;
}
