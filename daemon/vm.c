/* SPDX-License-Identifier: MIT
 *
 * Birth: /dev/kvm, the VM, its interrupt controllers, memory, images, vCPUs.
 * Death is the reverse. What KVM cannot do is said before a guest instruction
 * has run.
 */
#include "config.h"

#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "interrupt.h"
#include "log.h"
#include "quantum.h"
#include "sock.h"
#include "vcpu.h"
#include "x86/hypercall.h"
#include "x86/msr_filter.h"
#include "x86/probe.h"

/* Four pages that KVM on Intel hides from the guest; below any firmware. */
#define IDENTITY_MAP_GPA 0xfeffc000ull
#define TSS_GPA 0xfeffd000ull

static int open_kvm(struct vm *vm, struct fault *f)
{
	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd >= 0)
		return 0;
	if (errno == ENOENT)
		return fault_set(
		    f, STATUS_NO_KVM,
		    "/dev/kvm is missing: load kvm_intel or kvm_amd, and enable "
		    "virtualization in the firmware, or nested virtualization in a VM");
	if (errno == EACCES || errno == EPERM)
		return fault_set(
		    f, STATUS_NO_KVM,
		    "no permission for /dev/kvm: add this user to the group that owns it (kvm) "
		    "and log in again");
	return fault_set(f, STATUS_NO_KVM, "cannot open /dev/kvm: %s", strerror(errno));
}

static int check_kvm(struct vm *vm, struct fault *f)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
	    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
	    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
	    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
	    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
	};
	int version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0), size;

	if (version != KVM_API_VERSION)
		return fault_set(f, STATUS_NO_KVM, "KVM speaks version %d of its API; %d is needed",
				 version, KVM_API_VERSION);
	for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return fault_set(f, STATUS_NO_KVM, "KVM lacks %s: use a newer kernel",
					 needed[i].name);
	int max = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (max > 0 && vm->options->cpus > (uint32_t)max)
		return fault_set(f, STATUS_NO_KVM, "this KVM runs at most %d vCPUs in a VM", max);
	size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size <= 0)
		return fault_set(f, STATUS_NO_KVM, "KVM_GET_VCPU_MMAP_SIZE fails: %s",
				 strerror(errno));
	vm->run_size = (size_t)size;
	return 0;
}

static int make_irqchip(struct vm *vm, struct fault *f)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	uint64_t identity = IDENTITY_MAP_GPA;

	/* Only Intel's KVM wants these two; the others take or refuse them. */
	(void)ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	(void)ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_GPA);
	if (vm->options->irqchip == KVMCPU_IRQCHIP_NONE)
		return 0;
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return fault_set(f, STATUS_NO_KVM,
				 "KVM_CREATE_IRQCHIP fails: %s; use --irqchip none",
				 strerror(errno));
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
		return fault_set(f, STATUS_NO_KVM, "KVM_CREATE_PIT2 fails: %s; use --irqchip none",
				 strerror(errno));
	return 0;
}

static int load(struct vm *vm, struct fault *f)
{
	const struct options *o = vm->options;

	for (unsigned i = 0; i < o->n_images; i++)
		if (memory_load_file(&vm->memory, o->images[i].file, o->images[i].gpa, f) < 0)
			return -1;
	if (o->firmware != NULL && memory_load_firmware(&vm->memory, o->firmware, f) < 0)
		return -1;
	if (o->has_entry && memory_at(&vm->memory, o->entry, 1, false) == NULL)
		return fault_set(f, STATUS_IMAGE, "--entry 0x%llx is not in RAM",
				 (unsigned long long)o->entry);
	return x86_boot_prepare(vm, f);
}

/* What is less here than it could be. The kernel's mode is looked into only where it
 * is going to matter: that takes a VM of its own. */
static void take_notes(struct vm *vm)
{
	const struct options *o = vm->options;

	if (o->irqchip == KVMCPU_IRQCHIP_KERNEL)
		vm->notes[vm->n_notes++] =
		    "the interrupt controller is in the kernel, so KVM keeps HLT to itself: there "
		    "are no halt exits";
	if (!vm->has_sync_regs)
		vm->notes[vm->n_notes++] = "this KVM lacks KVM_CAP_SYNC_REGS: each hypercall costs "
					   "three system calls more";
	if (o->kernel != NULL && x86_kernel_mode_is_native(vm->kvm_fd) == 0) {
		vm->notes[vm->n_notes++] =
		    "this KVM leaves the guest's kernel mode to an instruction emulator, which "
		    "lacks many instructions: Linux does not boot on it, small kernels may";
		log_warn("%s", vm->notes[vm->n_notes - 1]);
	}
}

static int make_memory(struct vm *vm, struct fault *f)
{
	int64_t rom = 0;

	if (vm->options->firmware != NULL) {
		rom = memory_firmware_size(vm->options->firmware, f);
		if (rom < 0)
			return -1;
	}
	return memory_create(&vm->memory, vm->options->memory_bytes, (uint64_t)rom, f);
}

/* What is made anew at each reset. */
static int make_vm(struct vm *vm, struct fault *f)
{
	do /* fails only where a signal comes early in the system's life */
		(void)!getrandom(&vm->instance, sizeof(vm->instance), 0);
	while (vm->instance == 0);
	vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return fault_set(f, STATUS_NO_KVM, "KVM_CREATE_VM fails: %s", strerror(errno));
	if (make_irqchip(vm, f) < 0 || memory_register(&vm->memory, vm->fd, f) < 0 ||
	    x86_hypercall_enable(vm, f) < 0)
		return -1;
	return load(vm, f);
}

int vm_create(struct vm *vm, const struct options *options, struct fault *f)
{
	*vm = (struct vm){
	    .options = options,
	    .kvm_fd = -1,
	    .fd = -1,
	    .memory = {.fd = -1},
	    .n_vcpus = options->cpus,
	    .started_ns = sock_now_ns(),
	};
	pthread_mutex_init(&vm->stop_lock, NULL);
	irq_lines_init(&vm->irqs);
	vm->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->notify_fd < 0 || claims_init(&vm->claims, vm->n_vcpus) < 0)
		fault_set(f, STATUS_OS, "no memory or descriptors left");
	else if (open_kvm(vm, f) == 0 && check_kvm(vm, f) == 0 && make_memory(vm, f) == 0 &&
		 x86_hypercall_check(vm, f) == 0 && make_vm(vm, f) == 0) {
		take_notes(vm);
		return 0;
	}
	vm_destroy(vm);
	return -1;
}

/* KVM tells the TSC's rate by a vCPU alone. */
static int set_clock(struct vm *vm, struct fault *f)
{
	const struct options *o = vm->options;
	int khz = o->clock == CLOCK_SOURCE_TSC ? ioctl(vm->vcpus[0]->fd, KVM_GET_TSC_KHZ, 0) : 0;

	if (o->clock == CLOCK_SOURCE_TSC && khz <= 0)
		return fault_set(f, STATUS_NO_KVM,
				 "KVM does not tell the TSC's rate: %s; use --clock monotonic",
				 khz < 0 ? strerror(errno) : "it says 0");
	vm->tsc_khz = (uint32_t)khz;
	vm->rate = clock_rate_of(o->clock, o->factor_num, o->factor_den, vm->tsc_khz);
	return 0;
}

int vm_create_vcpus(struct vm *vm, struct fault *f)
{
	for (uint32_t i = 0; i < vm->n_vcpus; i++) {
		vm->vcpus[i] = vcpu_new(vm, i, f);
		if (vm->vcpus[i] == NULL)
			return -1;
		vm->claims.holds[i] = &vm->vcpus[i]->hold;
	}
	return set_clock(vm, f);
}

int vm_start(struct vm *vm, struct fault *f)
{
	if (!vm->options->paused)
		quantum_join(vm, UINT64_MAX);
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (vcpu_start(vm->vcpus[i], f) < 0)
			return -1;
	return 0;
}

void vm_join(struct vm *vm)
{
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (vm->vcpus[i] != NULL)
			vcpu_quit(vm->vcpus[i]);
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (vm->vcpus[i] != NULL)
			vcpu_join(vm->vcpus[i]);
}

int vm_reset(struct vm *vm, struct fault *f)
{
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		vcpu_close(vm->vcpus[i]);
	close(vm->fd);
	vm->stop_wanted = vm->stop_is_reset = false;
	irq_lines_reset(&vm->irqs);
	if (memory_clear(&vm->memory, f) < 0 || make_vm(vm, f) < 0)
		return -1;
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (vcpu_open(vm->vcpus[i], f) < 0)
			return -1;
	int r = x86_msr_filter_set(vm); /* the claims are those from before */
	if (r < 0)
		return fault_set(f, STATUS_NO_KVM, "KVM refuses the filter for MSRs: %s",
				 strerror(-r));
	return vm_start(vm, f);
}

void vm_destroy(struct vm *vm)
{
	claims_destroy(&vm->claims);
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		vcpu_free(vm->vcpus[i]);
	memory_destroy(&vm->memory);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	if (vm->notify_fd >= 0)
		close(vm->notify_fd);
	irq_lines_destroy(&vm->irqs);
	pthread_mutex_destroy(&vm->stop_lock);
}

void vm_notify(struct vm *vm)
{
	uint64_t one = 1;

	/* Full means that L has been told already. */
	if (write(vm->notify_fd, &one, sizeof(one)) < 0)
		return;
}

void vm_request_stop(struct vm *vm, uint32_t code, const char *reason, bool reset)
{
	pthread_mutex_lock(&vm->stop_lock);
	if (!vm->stop_wanted || (vm->stop_is_reset && !reset)) {
		vm->stop_wanted = true;
		vm->stop_is_reset = reset;
		vm->stop_code = code;
		snprintf(vm->stop_reason, sizeof(vm->stop_reason), "%s",
			 reason != NULL ? reason : "");
	}
	pthread_mutex_unlock(&vm->stop_lock);
	/* Not one more instruction than need be. */
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		vcpu_quit(vm->vcpus[i]);
	vm_notify(vm);
}

void vm_info(const struct vm *vm, struct kvmcpu_vm_info *ret)
{
	*ret = (struct kvmcpu_vm_info){
	    .name = vm->options->name,
	    .vcpus = vm->n_vcpus,
	    .irqchip = vm->options->irqchip,
	    .memory_bytes = vm->options->memory_bytes,
	    .ticks_per_second = VM_TICKS_PER_SECOND,
	    .instance = vm->instance,
	};
}

void vm_memory_map(const struct vm *vm, struct kvmcpu_memory_map *ret)
{
	*ret = (struct kvmcpu_memory_map){.regions = vm->memory.regions,
					  .n_regions = vm->memory.n_regions};
}

__attribute__((format(printf, 3, 4))) static int refuse(struct codec_error *err, int error,
							const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return error;
}

static int check_cpu_effect(const struct vm *vm, const struct kvmcpu_effect *e,
			    struct codec_error *err)
{
	if (e->cpu.vcpu >= vm->n_vcpus)
		return refuse(err, -EPROTO, "effect: there is no vCPU %u; the VM has %u",
			      e->cpu.vcpu, vm->n_vcpus);
	if (e->kind == KVMCPU_EFFECT_INTERRUPT && vm->options->irqchip != KVMCPU_IRQCHIP_NONE)
		return refuse(
		    err, -ENOTSUP,
		    "effect: a vector cannot be given past the interrupt controller in the "
		    "kernel; set an interrupt line");
	return 0;
}

int vm_check_effect(const struct vm *vm, const struct kvmcpu_effect *e, struct codec_error *err)
{
	switch (e->kind) {
	case KVMCPU_EFFECT_SET_IRQ_LINE:
		if (vm->options->irqchip == KVMCPU_IRQCHIP_NONE)
			return refuse(
			    err, -ENOTSUP,
			    "effect: there are no interrupt lines with --irqchip none; give a "
			    "vector");
		if (e->irq_line.gsi >= IRQ_LINES)
			return refuse(err, -EPROTO, "effect: GSI %u is past the last, 23",
				      e->irq_line.gsi);
		return 0;
	case KVMCPU_EFFECT_WRITE_MEMORY:
		if (memory_at(&vm->memory, e->memory.address, e->memory.size, true) == NULL)
			return refuse(err, -EPROTO, "effect: %zu bytes at 0x%llx are not in RAM",
				      e->memory.size, (unsigned long long)e->memory.address);
		return 0;
	case KVMCPU_EFFECT_STOP_VM:
		return 0;
	default:
		return check_cpu_effect(vm, e, err);
	}
}

void vm_apply_effect(struct vm *vm, const struct kvmcpu_effect *e)
{
	switch (e->kind) {
	case KVMCPU_EFFECT_SET_IRQ_LINE:
		irq_line_set(&vm->irqs, vm->fd, e->irq_line.gsi, e->irq_line.level,
			     e->irq_line.decided_ns);
		break;
	case KVMCPU_EFFECT_INTERRUPT:
		interrupt_post(vm->vcpus[e->cpu.vcpu], e->cpu.vector);
		break;
	case KVMCPU_EFFECT_NMI:
		interrupt_post_nmi(vm->vcpus[e->cpu.vcpu]);
		break;
	case KVMCPU_EFFECT_WRITE_MEMORY:
		memcpy(memory_at(&vm->memory, e->memory.address, e->memory.size, true),
		       e->memory.data, e->memory.size);
		break;
	case KVMCPU_EFFECT_WAKE:
		interrupt_post_wake(vm->vcpus[e->cpu.vcpu]);
		break;
	case KVMCPU_EFFECT_END_RUN:
		run_post_event(vm->vcpus[e->cpu.vcpu]);
		break;
	case KVMCPU_EFFECT_STOP_VM:
		vm_request_stop(vm, e->stop.code, e->stop.reason, e->stop.reset);
		break;
	}
}
