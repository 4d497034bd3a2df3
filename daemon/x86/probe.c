/* SPDX-License-Identifier: MIT
 *
 * The mode: POPCNT touches neither memory nor anything that a hypervisor intercepts, every
 * x86-64 CPU of the last ten years has it, and KVM's emulator does not know it.
 * So where it ends in KVM_EXIT_INTERNAL_ERROR, the emulator ran it. Flat protected
 * mode, since hardware of old left real mode to the emulator as well.
 *
 * The hypercall: there is a KVM that never comes back from the instruction, nor heeds
 * signals meanwhile, so a child process tries it, and is killed when it takes too long.
 */
#include "config.h"

#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kvm.h>
#include <linux/kvm_para.h>

#define PAGE 4096
#define CODE_GPA 0x1000ull
#define CR0_PE 1ull

#define HYPERCALL_MS 1000 /* picked: it takes 2 ms where it works */

static const uint8_t popcnt_code[] = {0xf3, 0x0f, 0xb8, 0xc0, 0xf4}; /* popcnt eax, eax; hlt */
/* mov eax, KVM_HC_MAP_GPA_RANGE; mov ebx, CODE_GPA; mov ecx, 1; xor edx, edx; the call; hlt */
#define HYPERCALL_CODE(last)                                                                    \
	0xb8, KVM_HC_MAP_GPA_RANGE, 0, 0, 0, 0xbb, 0, 0x10, 0, 0, 0xb9, 1, 0, 0, 0, 0x31, 0xd2, \
	    0x0f, 0x01, last, 0xf4
static const uint8_t vmcall_code[] = {HYPERCALL_CODE(0xc1)};
static const uint8_t vmmcall_code[] = {HYPERCALL_CODE(0xd9)};
static const uint8_t nops_code[] = {0x90, 0x90, 0xf4}; /* nop; nop; hlt */

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
	int r = make(&p, kvm_fd, popcnt_code, sizeof(popcnt_code)) < 0 ? -errno : run(&p);

	unmake(&p);
	return r;
}

int x86_single_steps_trap(int kvm_fd)
{
	struct probe p = {.vm_fd = -1, .vcpu_fd = -1, .run = MAP_FAILED, .page = MAP_FAILED};
	struct kvm_guest_debug steps = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
	int r = make(&p, kvm_fd, nops_code, sizeof(nops_code));

	if (r == 0)
		r = ioctl(p.vcpu_fd, KVM_SET_GUEST_DEBUG, &steps);
	r = r < 0 ? -errno : run(&p);
	unmake(&p);
	return r < 0 ? r : r == STEPPED;
}

/* In the child: 0 if the call comes out, 1 if it does not, 2 if it cannot be tried. */
static int try_hypercall(int kvm_fd)
{
	struct probe p = {.vm_fd = -1, .vcpu_fd = -1, .run = MAP_FAILED, .page = MAP_FAILED};
	struct kvm_enable_cap cap = {.cap = KVM_CAP_EXIT_HYPERCALL,
				     .args[0] = 1u << KVM_HC_MAP_GPA_RANGE};
	const uint8_t *code = __builtin_cpu_is("intel") ? vmcall_code : vmmcall_code;

	if (make(&p, kvm_fd, code, sizeof(vmcall_code)) < 0 ||
	    ioctl(p.vm_fd, KVM_ENABLE_CAP, &cap) < 0 || ioctl(p.vcpu_fd, KVM_RUN, 0) < 0)
		return 2;
	return p.run->exit_reason == KVM_EXIT_HYPERCALL ? 0 : 1;
}

static int wait_child(pid_t pid)
{
	int status, pidfd = pidfd_open(pid, 0);
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	bool late = pidfd < 0 || poll(&end, 1, HYPERCALL_MS) != 1;

	if (pidfd >= 0)
		close(pidfd);
	if (late)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (late)
		return -ETIME;
	return !WIFEXITED(status) || WEXITSTATUS(status) > 1 ? -EIO : 1 - WEXITSTATUS(status);
}

int x86_hands_out_hypercalls(int kvm_fd)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(try_hypercall(kvm_fd));
	}
	return wait_child(pid);
}
