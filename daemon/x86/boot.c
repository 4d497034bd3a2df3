/* SPDX-License-Identifier: MIT
 *
 * Real mode starts with the segments of a boot sector. Protected mode is flat
 * 32-bit code and data without paging; long mode is 64-bit code at CPL 0 with
 * the first 4 GiB mapped to themselves by 2 MiB pages, open to CPL 3 as well, so
 * that a test program can go there by itself. Segment and page table formats:
 * SDM volume 3, chapters 3 and 4.
 */
#include "config.h"

#include "boot.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/kvm.h>

#include "cpuid.h"
#include "vm.h"

#define GDT_GPA X86_BOOT_AREA
#define PML4_GPA (X86_BOOT_AREA + 0x1000)
#define PDPT_GPA (X86_BOOT_AREA + 0x2000)
#define PD_GPA (X86_BOOT_AREA + 0x3000) /* four pages, 1 GiB each */

#define PTE_USER_WRITE_PRESENT 7ull
#define PDE_LARGE (1ull << 7)
#define PAGE_2M (1ull << 21)

#define CR0_PE 1ull
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)

enum { CODE_SELECTOR = 0x08, DATA_SELECTOR = 0x10, GDT_ENTRIES = 3 };

static void write_gdt(uint8_t *at, bool is_long)
{
	/* Flat, 4 GiB, present, DPL 0; code is 64-bit (L) or 32-bit (D). */
	const uint64_t gdt[GDT_ENTRIES] = {
	    0,
	    is_long ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull,
	    0x00cf93000000ffffull,
	};

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

int x86_boot_prepare(struct vm *vm, struct fault *f)
{
	enum boot_mode mode = vm->options->mode;
	uint8_t *area;

	if (mode != BOOT_PROTECTED && mode != BOOT_LONG)
		return 0;
	area = memory_at(&vm->memory, X86_BOOT_AREA, X86_BOOT_AREA_END - X86_BOOT_AREA, true);
	if (area == NULL)
		return fault_set(f, STATUS_IMAGE, "RAM is too small for this --mode");
	for (uint64_t i = 0; i < X86_BOOT_AREA_END - X86_BOOT_AREA; i++)
		if (area[i] != 0)
			return fault_set(
			    f, STATUS_IMAGE,
			    "an image reaches into 0x%llx-0x%llx, where --mode protected and long "
			    "keep their tables; load it elsewhere",
			    X86_BOOT_AREA, X86_BOOT_AREA_END - 1);
	write_gdt(area, mode == BOOT_LONG);
	if (mode == BOOT_LONG)
		write_page_tables(area);
	return 0;
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

static void set_flat(struct kvm_sregs *s, bool is_long)
{
	s->cs = flat_segment(CODE_SELECTOR, true, is_long);
	s->ds = s->es = s->fs = s->gs = s->ss = flat_segment(DATA_SELECTOR, false, is_long);
	s->gdt.base = GDT_GPA;
	s->gdt.limit = GDT_ENTRIES * 8 - 1;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
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

static int set_registers(const struct vm *vm, int fd, uint32_t index)
{
	const struct options *o = vm->options;
	struct kvm_regs regs = {.rflags = 2, .rip = o->entry, .rdi = index, .rsi = vm->n_vcpus};
	struct kvm_sregs sregs;

	if (o->mode == BOOT_RESET)
		return 0; /* as KVM made it */
	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	if (o->mode == BOOT_REAL)
		set_real(&sregs, &regs, o->entry);
	else
		set_flat(&sregs, o->mode == BOOT_LONG);
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(fd, KVM_SET_REGS, &regs);
}

int x86_boot_vcpu(const struct vm *vm, int vcpu_fd, uint32_t index, struct fault *f)
{
	if (x86_cpuid_set(vm->kvm_fd, vcpu_fd, index, vm->n_vcpus) < 0)
		return fault_set(f, STATUS_NO_KVM, "KVM refuses the CPUID of vCPU %u: %s", index,
				 strerror(errno));
	if (set_registers(vm, vcpu_fd, index) < 0)
		return fault_set(f, STATUS_NO_KVM, "KVM refuses the registers of vCPU %u: %s",
				 index, strerror(errno));
	return 0;
}
