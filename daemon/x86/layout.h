/* SPDX-License-Identifier: MIT
 *
 * Where the daemon's own tables lie in guest memory. The PC's memory map is in
 * daemon/memory.h; kvmcpud(8), "MEMORY", tells users of all this.
 */
#ifndef KVMCPUD_X86_LAYOUT_H
#define KVMCPUD_X86_LAYOUT_H

/* The word of the BIOS's data area that has the RAM below 1 MiB, in KiB. */
#define X86_BASE_MEMORY 0x413ull

/* A GDT and page tables, for every start but real mode's. */
#define X86_BOOT_AREA 0x1000ull
#define X86_BOOT_AREA_END 0x8000ull

/* What a kernel is told: its own kind of structure with what that points to, and
 * the command line. */
#define X86_INFO 0x8000ull
#define X86_INFO_END 0x10000ull
#define X86_CMDLINE 0x10000ull
#define X86_CMDLINE_END 0x20000ull

/* RAM as a PC has it: up to the frame buffer of its first video cards, and from
 * 1 MiB on. In between there is RAM too, of which only the part where a BIOS would
 * be is used: a kernel looks for the RSDP there (ACPI 6.4, 5.2.5.1). */
#define X86_LOW_END 0xa0000ull
#define X86_ACPI 0xe0000ull
#define X86_ACPI_END 0x100000ull
#define X86_HIGH 0x100000ull

/* What KVM on Intel hides in the guest's memory; see daemon/vm.c. */
#define X86_KVM_PAGES 0xfeffc000ull
#define X86_KVM_PAGES_END 0xff000000ull

#endif
