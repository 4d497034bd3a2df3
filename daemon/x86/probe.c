/* SPDX-License-Identifier: MIT
 *
 * Guests of a few instructions, and how each ends.
 *
 * POPCNT touches neither memory nor anything that a hypervisor intercepts, every
 * x86-64 CPU of the last ten years has it, and KVM's emulator does not know it.
 * So where it ends in KVM_EXIT_INTERNAL_ERROR, the emulator ran it. Flat protected
 * mode, since hardware of old left real mode to the emulator as well.
 */
#include "config.h"

#include "probe.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm.h>

#define PAGE 4096
#define CODE_GPA 0x1000ull
#define CR0_PE 1ull

static const uint8_t popcnt[] = {0xf3, 0x0f, 0xb8, 0xc0, 0xf4}; /* popcnt eax, eax; hlt */
static const uint8_t nops[] = {0x90, 0x90, 0xf4};		/* nop; nop; hlt */

enum { STEPPED = 2 }; /* what run() returns for KVM_EXIT_DEBUG; 1: it came to its HLT */

struct probe {
	int vm_fd, vcpu_fd;
	size_t run_size;
	struct kvm_run *run; /* MAP_FAILED or owned */
	void *page;	     /* the same */
};

static struct kvm_segment flat(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
	    .limit = UINT32_MAX,
	    .selector = selector,
	    .type = type,
	    .present = 1,
	    .db = 1,
	    .s = 1,
	    .g = 1,
	};
}

static int set_registers(int fd)
{
	struct kvm_regs regs = {.rip = CODE_GPA, .rflags = 2};
	struct kvm_sregs s;

	if (ioctl(fd, KVM_GET_SREGS, &s) < 0)
		return -1;
	s.cr0 |= CR0_PE;
	s.cs = flat(0x08, 11);
	s.ds = s.es = s.fs = s.gs = s.ss = flat(0x10, 3);
	return ioctl(fd, KVM_SET_SREGS, &s) < 0 ? -1 : ioctl(fd, KVM_SET_REGS, &regs);
}

static int make(struct probe *p, int kvm_fd, const uint8_t *code, size_t size)
{
	struct kvm_userspace_memory_region slot = {.guest_phys_addr = CODE_GPA,
						   .memory_size = PAGE};

	p->run_size = (size_t)ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	p->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->page == MAP_FAILED)
		return -1;
	memcpy(p->page, code, size);
	slot.userspace_addr = (uintptr_t)p->page;
	p->vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	if (p->vm_fd < 0 || ioctl(p->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return -1;
	p->vcpu_fd = ioctl(p->vm_fd, KVM_CREATE_VCPU, 0);
	if (p->vcpu_fd < 0)
		return -1;
	p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu_fd, 0);
	return p->run == MAP_FAILED ? -1 : set_registers(p->vcpu_fd);
}

static void unmake(struct probe *p)
{
	if (p->run != MAP_FAILED)
		munmap(p->run, p->run_size);
	if (p->vcpu_fd >= 0)
		close(p->vcpu_fd);
	if (p->vm_fd >= 0)
		close(p->vm_fd);
	if (p->page != MAP_FAILED)
		munmap(p->page, PAGE);
}

static int run(const struct probe *p)
{
	int r;

	do
		r = ioctl(p->vcpu_fd, KVM_RUN, 0);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	switch (p->run->exit_reason) {
	case KVM_EXIT_HLT:
		return 1;
	case KVM_EXIT_DEBUG:
		return STEPPED;
	case KVM_EXIT_INTERNAL_ERROR:
		return p->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ? 0 : -EIO;
	default:
		return -EIO;
	}
}

int x86_kernel_mode_is_native(int kvm_fd)
{
	struct probe p = {.vm_fd = -1, .vcpu_fd = -1, .run = MAP_FAILED, .page = MAP_FAILED};
	int r = make(&p, kvm_fd, popcnt, sizeof(popcnt)) < 0 ? -errno : run(&p);

	unmake(&p);
	return r;
}

int x86_single_steps_trap(int kvm_fd)
{
	struct probe p = {.vm_fd = -1, .vcpu_fd = -1, .run = MAP_FAILED, .page = MAP_FAILED};
	struct kvm_guest_debug steps = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
	int r = make(&p, kvm_fd, nops, sizeof(nops));

	if (r == 0)
		r = ioctl(p.vcpu_fd, KVM_SET_GUEST_DEBUG, &steps);
	r = r < 0 ? -errno : run(&p);
	unmake(&p);
	return r < 0 ? r : r == STEPPED;
}
