/* SPDX-License-Identifier: MIT
 *
 * Real mode starts with the segments of a boot sector. Protected mode is flat
 * 32-bit code and data without paging; long mode is 64-bit code at CPL 0 with
 * the first 4 GiB mapped to themselves by 2 MiB pages, open to CPL 3 as well, so
 * that a test program can go there by itself. A kernel starts in one of these, and
 * differs in selectors and registers only. Segment and page table formats: SDM
 * volume 3, chapters 3 and 4.
 */
#include "config.h"

#include "boot.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/kvm.h>

#include "cpuid.h"
#include "kernel.h"
#include "layout.h"
#include "vm.h"

#define GDT_GPA X86_BOOT_AREA
#define PML4_GPA (X86_BOOT_AREA + 0x1000)
#define PDPT_GPA (X86_BOOT_AREA + 0x2000)
#define PD_GPA (X86_BOOT_AREA + 0x3000) /* four pages, 1 GiB each */

#define PTE_USER_WRITE_PRESENT 7ull
#define PDE_LARGE (1ull << 7)
#define PAGE_2M (1ull << 21)

#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)

#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLE (1u << 11)
#define MTRR_WRITE_BACK 6u

enum { GDT_ENTRIES = 4 };

static void write_gdt(uint8_t *at, const struct x86_start *start)
{
	/* Flat, 4 GiB, present, DPL 0; code is 64-bit (L) or 32-bit (D). */
	uint64_t gdt[GDT_ENTRIES] = {0};

	gdt[start->code_selector / 8] =
	    start->mode == BOOT_LONG ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull;
	gdt[start->data_selector / 8] = 0x00cf93000000ffffull;
	memcpy(at, gdt, sizeof(gdt));
}

static void write_page_tables(uint8_t *area)
{
	uint64_t *pml4 = (uint64_t *)(area + (PML4_GPA - X86_BOOT_AREA));
	uint64_t *pdpt = (uint64_t *)(area + (PDPT_GPA - X86_BOOT_AREA));
	uint64_t *pd = (uint64_t *)(area + (PD_GPA - X86_BOOT_AREA));

	pml4[0] = PDPT_GPA | PTE_USER_WRITE_PRESENT;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (PD_GPA + i * 4096) | PTE_USER_WRITE_PRESENT;
	for (uint64_t i = 0; i < 4 * 512; i++)
		pd[i] = i * PAGE_2M | PDE_LARGE | PTE_USER_WRITE_PRESENT;
}

static int write_tables(const struct vm *vm, struct fault *f)
{
	uint8_t *area =
	    memory_at(&vm->memory, X86_BOOT_AREA, X86_BOOT_AREA_END - X86_BOOT_AREA, true);

	if (area == NULL)
		return fault_set(f, STATUS_IMAGE, "RAM is too small for this --mode");
	for (uint64_t i = 0; i < X86_BOOT_AREA_END - X86_BOOT_AREA; i++)
		if (area[i] != 0)
			return fault_set(
			    f, STATUS_IMAGE,
			    "an image reaches into 0x%llx-0x%llx, where --mode protected and long "
			    "keep their tables; load it elsewhere",
			    X86_BOOT_AREA, X86_BOOT_AREA_END - 1);
	write_gdt(area, &vm->start);
	if (vm->start.mode == BOOT_LONG)
		write_page_tables(area);
	return 0;
}

int x86_boot_prepare(struct vm *vm, struct fault *f)
{
	const struct options *o = vm->options;

	vm->start = (struct x86_start){
	    .mode = o->mode,
	    .entry = o->entry,
	    .code_selector = X86_CODE_SELECTOR,
	    .data_selector = X86_DATA_SELECTOR,
	    .cr0 = X86_CR0_FLAT,
	    .rsi = vm->n_vcpus,
	    .all = true,
	};
	if (o->kernel != NULL && x86_kernel_load(o, &vm->memory, &vm->start, f) < 0)
		return -1;
	if (vm->start.mode == BOOT_RESET || vm->start.mode == BOOT_REAL)
		return 0;
	return write_tables(vm, f);
}

static struct kvm_segment flat_segment(uint16_t selector, bool code, bool is_long)
{
	return (struct kvm_segment){
	    .limit = UINT32_MAX,
	    .selector = selector,
	    .type = code ? 11 : 3, /* accessed; readable code or writable data */
	    .present = 1,
	    .s = 1,
	    .db = !(code && is_long),
	    .l = code && is_long,
	    .g = 1,
	};
}

static void set_flat(struct kvm_sregs *s, const struct x86_start *start)
{
	bool is_long = start->mode == BOOT_LONG;

	s->cs = flat_segment(start->code_selector, true, is_long);
	s->ds = s->es = s->fs = s->gs = s->ss = flat_segment(start->data_selector, false, is_long);
	s->gdt.base = GDT_GPA;
	s->gdt.limit = GDT_ENTRIES * 8 - 1;
	s->cr0 = start->cr0;
	if (is_long) {
		s->cr0 |= CR0_PG;
		s->cr3 = PML4_GPA;
		s->cr4 |= CR4_PAE;
		s->efer |= EFER_LME | EFER_LMA;
	}
}

/* Segments as a boot sector finds them: cs:ip at the entry, the others 0. */
static void set_real(struct kvm_sregs *s, struct kvm_regs *r, kvmcpu_gpa_t entry)
{
	s->cs.selector = (uint16_t)(entry >> 4 & 0xf000);
	s->cs.base = (uint64_t)s->cs.selector << 4;
	r->rip = entry - s->cs.base;
}

static int set_registers(const struct x86_start *start, int fd, uint32_t index)
{
	struct kvm_regs regs = {
	    .rflags = 2,
	    .rip = start->entry,
	    .rax = start->rax,
	    .rbx = start->rbx,
	    .rsi = start->rsi,
	    .rdi = index,
	};
	struct kvm_sregs sregs;

	if (start->mode == BOOT_RESET || (index != 0 && !start->all))
		return 0; /* as KVM made it */
	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	if (start->mode == BOOT_REAL)
		set_real(&sregs, &regs, start->entry);
	else
		set_flat(&sregs, start);
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(fd, KVM_SET_REGS, &regs);
}

/* What firmware leaves behind, and a kernel without firmware must find: RAM is
 * cached. KVM itself caches it in any case, so where it does not take this (PVM), a
 * kernel is only less happy. */
static void set_memory_type(int fd)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = {
	    .head.nmsrs = 1,
	    .entry = {.index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE | MTRR_WRITE_BACK},
	};

	(void)ioctl(fd, KVM_SET_MSRS, &msrs);
}

/* XCR0 as a kernel is going to set it. Where the processor does not intercept XSETBV
 * for KVM (QEMU's AMD-V), KVM believes the value that it knows, and puts it back at
 * each entry. Nobody can tell before CR4.OSXSAVE is set. */
static void set_xcr0(int kvm_fd, int fd)
{
	struct kvm_xcrs xcrs = {.nr_xcrs = 1,
				.xcrs = {{.xcr = 0, .value = x86_cpuid_xcr0(kvm_fd)}}};

	if (xcrs.xcrs[0].value != 0)
		(void)ioctl(fd, KVM_SET_XCRS, &xcrs);
}

int x86_boot_vcpu(const struct vm *vm, int vcpu_fd, uint32_t index, struct fault *f)
{
	bool kernel_irqchip = vm->options->irqchip == KVMCPU_IRQCHIP_KERNEL;
	struct x86_cpuid cpuid = {
	    .kvm_fd = vm->kvm_fd,
	    .index = index,
	    .n_vcpus = vm->n_vcpus,
	    .x2apic = kernel_irqchip,
	    .tsc_deadline = kernel_irqchip &&
			    ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
	};

	if (x86_cpuid_set(&cpuid, vcpu_fd) < 0)
		return fault_set(f, STATUS_NO_KVM, "KVM refuses the CPUID of vCPU %u: %s", index,
				 strerror(errno));
	if (set_registers(&vm->start, vcpu_fd, index) < 0)
		return fault_set(f, STATUS_NO_KVM, "KVM refuses the registers of vCPU %u: %s",
				 index, strerror(errno));
	if (vm->options->kernel != NULL) {
		set_memory_type(vcpu_fd);
		set_xcr0(vm->kvm_fd, vcpu_fd);
	}
	return 0;
}
