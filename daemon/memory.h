/* SPDX-License-Identifier: MIT
 *
 * Guest memory: one memfd that holds RAM and ROM, mapped here once and given to
 * KVM as memory slots. RAM below 3 GiB lies at 0, the rest from 4 GiB on; the
 * ROM ends at 4 GiB.
 *
 * The layout is constant once made, so any thread may look. What the bytes hold
 * belongs to the guest: it may change under a reader at any time.
 */
#ifndef KVMCPUD_MEMORY_H
#define KVMCPUD_MEMORY_H

#include "fault.h"
#include "types.h"

#define MEMORY_MAX_REGIONS 3 /* low RAM, high RAM, ROM */

struct memory {
	int fd;	      /* owned; sealed against growing and shrinking */
	uint8_t *map; /* owned; all regions, by their offsets */
	uint64_t map_size;
	struct kvmcpu_memory_region regions[MEMORY_MAX_REGIONS];
	size_t n_regions;
};

/* ram_bytes and rom_bytes are multiples of 4096; rom_bytes may be 0. -1 with
 * fault set, and nothing held, if the system refuses. */
int memory_create(struct memory *m, uint64_t ram_bytes, uint64_t rom_bytes, struct fault *f);
void memory_destroy(struct memory *m);
/* Makes all of it zeroes again; for when no vCPU runs. */
int memory_clear(const struct memory *m, struct fault *f);
/* Makes the regions memory slots of the VM. */
int memory_register(const struct memory *m, int vm_fd, struct fault *f);

/* Where size bytes at gpa are in this process, or NULL if they do not lie in
 * one region, or in ROM and writing is asked for. */
uint8_t *memory_at(const struct memory *m, kvmcpu_gpa_t gpa, uint64_t size, bool writing);

/* Reads a whole file to gpa. */
int memory_load_file(const struct memory *m, const char *path, kvmcpu_gpa_t gpa, struct fault *f);
/* The same for the ROM; its last 128 KiB are copied to RAM below 1 MiB, where
 * the CPU finds them in real mode. */
int memory_load_firmware(const struct memory *m, const char *path, struct fault *f);
/* The size that a ROM for this file needs, or -1. */
int64_t memory_firmware_size(const char *path, struct fault *f);

/* A descriptor of the same memory that cannot be written through; the caller
 * owns it. Or -errno. */
int memory_open_read_only(const struct memory *m);

#endif
