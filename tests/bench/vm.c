/* SPDX-License-Identifier: MIT
 *
 * The segments are as the daemon sets them in its protected mode, and the CPUID
 * is all that KVM offers, so that KVM takes the same ways in both.
 */
#include "config.h"

#include "vm.h"

#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_BYTES (2u << 20) /* picked: more than any of these guests touches */
#define CPUID_MAX 256	     /* KVM_MAX_CPUID_ENTRIES */

static long must(long result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static void load(unsigned char *ram, const char *image)
{
	int fd = (int)must(open(image, O_RDONLY | O_CLOEXEC), image);

	must(read(fd, ram + BENCH_GUEST_GPA, RAM_BYTES - BENCH_GUEST_GPA), image);
	close(fd);
}

static void add_memory(int vm_fd, const char *image)
{
	void *ram =
	    mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {.memory_size = RAM_BYTES,
						     .userspace_addr = (uintptr_t)ram};

	if (ram == MAP_FAILED)
		err(1, "guest RAM");
	load(ram, image);
	must(ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void set_cpuid(int kvm_fd, int vcpu_fd)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[CPUID_MAX];
	} cpuid = {.head.nent = CPUID_MAX};

	must(ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
	must(ioctl(vcpu_fd, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
}

static void set_registers(int vcpu_fd)
{
	/* Flat 4 GiB; type 11 is code that was accessed, 3 data (SDM volume 3, 3.4.5.1). */
	struct kvm_segment data = {
	    .limit = UINT32_MAX, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
	struct kvm_segment code = data;
	struct kvm_regs regs = {.rflags = 2, .rip = BENCH_GUEST_GPA};
	struct kvm_sregs sregs;

	code.selector = 8;
	code.type = 11;
	must(ioctl(vcpu_fd, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = 0x31; /* PE, ET, NE */
	must(ioctl(vcpu_fd, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vcpu_fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

void bench_vm_open(struct bench_vm *vm, const char *image)
{
	int kvm_fd = (int)must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int vm_fd = (int)must(ioctl(kvm_fd, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	size_t size =
	    (size_t)must(ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");

	add_memory(vm_fd, image);
	vm->vcpu_fd = (int)must(ioctl(vm_fd, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu_fd, 0);
	if (vm->run == MAP_FAILED)
		err(1, "struct kvm_run");
	set_cpuid(kvm_fd, vm->vcpu_fd);
	set_registers(vm->vcpu_fd);
}

void bench_vm_want_registers(struct bench_vm *vm)
{
	vm->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
}

void bench_vm_set_rax(struct bench_vm *vm, unsigned long value)
{
	vm->run->s.regs.regs.rax = value;
	vm->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
}

void bench_vm_run(struct bench_vm *vm)
{
	must(ioctl(vm->vcpu_fd, KVM_RUN, 0), "KVM_RUN");
	if (vm->run->exit_reason != KVM_EXIT_IO && vm->run->exit_reason != KVM_EXIT_MMIO)
		errx(1, "the guest left for reason %u, not for a port or MMIO",
		     vm->run->exit_reason);
}

unsigned char *bench_vm_data(struct bench_vm *vm, unsigned *ret_size, int *ret_is_write)
{
	struct kvm_run *run = vm->run;

	if (run->exit_reason == KVM_EXIT_MMIO) {
		*ret_size = run->mmio.len;
		*ret_is_write = run->mmio.is_write;
		return run->mmio.data;
	}
	*ret_size = run->io.size * run->io.count;
	*ret_is_write = run->io.direction == KVM_EXIT_IO_OUT;
	return (unsigned char *)run + run->io.data_offset;
}
