/* SPDX-License-Identifier: MIT
 *
 * A PC's map: RAM up to 640 KiB, the daemon's tables where a BIOS would be, RAM
 * from 1 MiB to 3 GiB at most, the rest from 4 GiB on. Everything else is left
 * to devices, and need not be named.
 */
#include "config.h"

#include "e820.h"

#include "layout.h"

static void add(struct e820 *map, kvmcpu_gpa_t from, kvmcpu_gpa_t to, enum e820_type type)
{
	if (to > from)
		map->ranges[map->n++] = (struct e820_range){from, to - from, type};
}

void e820_make(struct e820 *ret, const struct memory *m)
{
	ret->n = 0;
	add(ret, 0, X86_LOW_END, E820_RAM);
	add(ret, X86_ACPI, X86_ACPI_END, E820_RESERVED);
	add(ret, X86_HIGH, m->regions[0].size_bytes, E820_RAM);
	add(ret, X86_KVM_PAGES, X86_KVM_PAGES_END, E820_RESERVED);
	for (size_t i = 1; i < m->n_regions; i++)
		if (!m->regions[i].read_only)
			add(ret, m->regions[i].address,
			    m->regions[i].address + m->regions[i].size_bytes, E820_RAM);
}
