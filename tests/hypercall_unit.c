/* SPDX-License-Identifier: MIT
 *
 * Which writes are hypercalls, where the registers come from and how the result goes back,
 * with a KVM that has KVM_CAP_SYNC_REGS and with one that has not. ioctl is this file's.
 */
#include "config.h"

#include "claim_setup.h"

#include <sys/ioctl.h>

#include <linux/kvm.h>

#include "exit.h"
#include "options.h"
#include "vcpu.h"
#include "vm.h"
#include "x86/hypercall.h"

#define PORT 0xe4
#define SYNC (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS)

static struct options options;
static struct vm vm;
static struct vcpu *v;
static struct kvm_run run;
static struct kvm_regs kernels; /* what KVM has as the vCPU's registers */
static struct kvm_sregs kernels_s;
static int gets, sets;
static int fields; /* of KVM_CAP_SYNC_REGS */

int __wrap_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	switch (request) {
	case KVM_CHECK_EXTENSION:
		return (uintptr_t)arg == KVM_CAP_SYNC_REGS ? fields : 0;
	case KVM_GET_REGS:
		gets++;
		memcpy(arg, &kernels, sizeof(kernels));
		return 0;
	case KVM_GET_SREGS:
		memcpy(arg, &kernels_s, sizeof(kernels_s));
		return 0;
	case KVM_SET_REGS:
		sets++;
		memcpy(&kernels, arg, sizeof(kernels));
		return 0;
	default:
		fail_msg("ioctl 0x%lx", request);
		return -1;
	}
}

static int begin(void **state)
{
	struct kvmcpu_claim all = {.space = KVMCPU_SPACE_HYPERCALL, .last = UINT64_MAX};
	struct codec_error err;
	struct fault f;

	options =
	    (struct options){.hypercall = {KVMCPU_EXIT_PIO, PORT}, .irqchip = KVMCPU_IRQCHIP_NONE};
	memset(&run, 0, sizeof(run));
	kernels = (struct kvm_regs){.rax = 0xaaaaaaaa00000007,
				    .rdi = 1,
				    .rsi = 2,
				    .rdx = 3,
				    .r10 = 4,
				    .r8 = 5,
				    .r9 = 0xffffffff00000006,
				    .rbx = 77};
	kernels_s = (struct kvm_sregs){.efer = 1 << 10, .cs.l = 1};
	gets = sets = 0;
	vm.options = &options;
	v = calloc(1, sizeof(*v));
	if (v == NULL || claims_init(&vm.claims, 1) < 0 || x86_hypercall_check(&vm, &f) < 0)
		return -1;
	vm.claims.holds[0] = &v->hold;
	v->vm = &vm;
	v->run = &run;
	if (*state != NULL)
		return 0; /* nobody claims */
	struct channel *ch = client(1);
	struct claim_table *t;
	if (claims_prepare(&vm.claims, ch, 1, &all, 1, &t, &err) < 0)
		return -1;
	claims_commit(&vm.claims, t);
	channel_unref(ch);
	return 0;
}

static int begin_with(void **state)
{
	fields = SYNC | KVM_SYNC_X86_EVENTS;
	return begin(state);
}

static int begin_without(void **state)
{
	fields = 0;
	return begin(state);
}

static int begin_unclaimed(void **state)
{
	*state = &options;
	return begin_with(state);
}

static int end(void **state)
{
	claims_release(&v->hold);
	claims_destroy(&vm.claims);
	free(v);
	return 0;
}

static struct kvmcpu_exit write_to(uint64_t port, uint32_t size)
{
	return (struct kvmcpu_exit){.kind = KVMCPU_EXIT_PIO,
				    .direction = KVMCPU_WRITE,
				    .address = port,
				    .size = size,
				    .count = 1};
}

static const struct exit_type plain;

/* A call that must be one; returns it. */
static struct kvmcpu_exit call(const struct exit_type **ret)
{
	struct kvmcpu_exit x = write_to(PORT, 4);

	*ret = x86_hypercall_take(v, &plain, &x);
	assert_ptr_not_equal(*ret, &plain);
	assert_int_equal(x.kind, KVMCPU_EXIT_HYPERCALL);
	assert_int_equal((*ret)->space, KVMCPU_SPACE_HYPERCALL);
	return x;
}

static void test_registers_come_with_the_exit(void **state)
{
	static const uint8_t result[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	const struct exit_type *type;

	struct kvmcpu_exit x = call(&type);
	assert_true(x.address == 0xaaaaaaaa00000007 && x.hypercall.long_mode);
	for (int i = 0; i < 5; i++)
		assert_true(x.hypercall.args[i] == (uint64_t)i + 1);
	assert_true(x.hypercall.args[5] == 0xffffffff00000006);
	assert_int_equal(gets, 1); /* the first */
	assert_true(run.kvm_valid_regs == SYNC);

	run.s.regs.regs.rax = 8; /* KVM's doing from now on */
	x = call(&type);
	assert_true(x.address == 8);
	type->finish(v, &x, result, true);
	assert_true(run.kvm_dirty_regs == KVM_SYNC_X86_REGS);
	assert_true(run.s.regs.regs.rax == 0x0807060504030201 && run.s.regs.regs.rbx == 77);
	assert_true(gets == 1 && sets == 0);
}

static void test_registers_are_fetched(void **state)
{
	static const uint8_t result[8] = {9};
	const struct exit_type *type;

	assert_false(vm.has_sync_regs);
	for (int i = 1; i <= 3; i++) {
		kernels.rax = 100 + i;
		struct kvmcpu_exit x = call(&type);
		assert_true(x.address == 100u + i && x.hypercall.args[0] == 1);
		type->finish(v, &x, result, true);
		assert_true(gets == i && sets == i);
		assert_true(kernels.rax == 9 && kernels.rbx == 77);
	}
	assert_true(run.kvm_valid_regs == 0 && run.kvm_dirty_regs == 0);
}

static void test_lower_halves_outside_of_64_bit_mode(void **state)
{
	const struct exit_type *type;

	kernels_s.cs.l = 0;
	struct kvmcpu_exit x = call(&type);
	assert_true(x.address == 7 && x.hypercall.args[5] == 6 && !x.hypercall.long_mode);
}

static void test_other_accesses_stay(void **state)
{
	struct kvmcpu_exit others[] = {write_to(PORT, 2), write_to(PORT, 1), write_to(PORT + 1, 4),
				       write_to(PORT, 4), write_to(PORT, 4), write_to(PORT, 4)};

	others[3].direction = KVMCPU_READ;
	others[4].count = 2;
	others[5].kind = KVMCPU_EXIT_MMIO;
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct kvmcpu_exit x = others[i];
		assert_ptr_equal(x86_hypercall_take(v, &plain, &x), &plain);
		assert_int_equal(x.kind, others[i].kind);
	}
	assert_int_equal(gets, 0);
}

static void test_unclaimed_it_stays(void **state)
{
	struct kvmcpu_exit x = write_to(PORT, 4);

	run.kvm_valid_regs = SYNC;
	assert_ptr_equal(x86_hypercall_take(v, &plain, &x), &plain);
	assert_int_equal(x.kind, KVMCPU_EXIT_PIO);
	assert_true(gets == 0 && run.kvm_valid_regs == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_registers_come_with_the_exit, begin_with, end),
	    cmocka_unit_test_setup_teardown(test_registers_are_fetched, begin_without, end),
	    cmocka_unit_test_setup_teardown(test_lower_halves_outside_of_64_bit_mode, begin_with,
					    end),
	    cmocka_unit_test_setup_teardown(test_other_accesses_stay, begin_with, end),
	    cmocka_unit_test_setup_teardown(test_unclaimed_it_stays, begin_unclaimed, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
