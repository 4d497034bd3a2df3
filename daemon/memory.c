/* SPDX-License-Identifier: MIT
 *
 * The memfd is sparse: what the guest never touches takes no memory. Private
 * huge pages and NUMA are left to the host's policy for shared memory.
 */
#include "config.h"

#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "image.h"

#define LOW_RAM_END (3ull << 30) /* above it the PC's devices begin */
#define FOUR_GIB (1ull << 32)
#define MAX_ROM (16ull << 20)	   /* what fits above the local APICs' page, rounded down */
#define SHADOW_SIZE (128ull << 10) /* of the BIOS below 1 MiB, since the first PC */
#define SHADOW_GPA 0xe0000ull

static void add_region(struct memory *m, kvmcpu_gpa_t gpa, uint64_t size, bool read_only)
{
	m->regions[m->n_regions++] =
	    (struct kvmcpu_memory_region){gpa, size, m->map_size, read_only};
	m->map_size += size;
}

int memory_create(struct memory *m, uint64_t ram_bytes, uint64_t rom_bytes, struct fault *f)
{
	*m = (struct memory){.fd = -1, .map = MAP_FAILED};
	add_region(m, 0, ram_bytes < LOW_RAM_END ? ram_bytes : LOW_RAM_END, false);
	if (ram_bytes > LOW_RAM_END)
		add_region(m, FOUR_GIB, ram_bytes - LOW_RAM_END, false);
	if (rom_bytes > 0)
		add_region(m, FOUR_GIB - rom_bytes, rom_bytes, true);

	m->fd = memfd_create("kvmcpud-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* memfds are born with mode 0777, and who holds a read-only descriptor could
	 * open the file anew by /proc/self/fd, for writing. */
	if (m->fd < 0 || fchmod(m->fd, 0600) < 0 || ftruncate(m->fd, (off_t)m->map_size) < 0 ||
	    fcntl(m->fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		goto refused;
	m->map =
	    mmap(NULL, m->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	if (m->map == MAP_FAILED)
		goto refused;
	return 0;
refused:
	fault_set(f, STATUS_OS, "cannot make %llu MiB of guest memory: %s; try a smaller --memory",
		  (unsigned long long)m->map_size >> 20, strerror(errno));
	memory_destroy(m);
	return -1;
}

void memory_destroy(struct memory *m)
{
	if (m->map != MAP_FAILED && m->map != NULL)
		munmap(m->map, m->map_size);
	if (m->fd >= 0)
		close(m->fd);
	m->map = MAP_FAILED;
	m->fd = -1;
}

int memory_clear(const struct memory *m, struct fault *f)
{
	if (fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)m->map_size) ==
	    0)
		return 0;
	return fault_set(f, STATUS_OS, "cannot clear guest memory: %s", strerror(errno));
}

int memory_register(const struct memory *m, int vm_fd, struct fault *f)
{
	for (uint32_t slot = 0; slot < m->n_regions; slot++) {
		const struct kvmcpu_memory_region *r = &m->regions[slot];
		struct kvm_userspace_memory_region kvm = {
		    .slot = slot,
		    .flags = r->read_only ? KVM_MEM_READONLY : 0,
		    .guest_phys_addr = r->address,
		    .memory_size = r->size_bytes,
		    .userspace_addr = (uintptr_t)(m->map + r->offset),
		};
		if (ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &kvm) < 0)
			return fault_set(f, STATUS_NO_KVM,
					 "KVM refuses %llu MiB of guest memory at 0x%llx: %s",
					 (unsigned long long)r->size_bytes >> 20,
					 (unsigned long long)r->address, strerror(errno));
	}
	return 0;
}

uint8_t *memory_at(const struct memory *m, kvmcpu_gpa_t gpa, uint64_t size, bool writing)
{
	for (size_t i = 0; i < m->n_regions; i++) {
		const struct kvmcpu_memory_region *r = &m->regions[i];
		if (gpa < r->address || gpa - r->address >= r->size_bytes)
			continue;
		if (size > r->size_bytes - (gpa - r->address) || (writing && r->read_only))
			return NULL;
		return m->map + r->offset + (gpa - r->address);
	}
	return NULL;
}

int memory_load_file(const struct memory *m, const char *path, kvmcpu_gpa_t gpa, struct fault *f)
{
	uint64_t size;
	int fd = image_open(path, &size, f), status;

	if (fd < 0)
		return -1;
	uint8_t *to = memory_at(m, gpa, size, true);
	if (to == NULL)
		status = fault_set(
		    f, STATUS_IMAGE,
		    "%s (%llu bytes) does not fit into RAM at 0x%llx; low RAM ends at 0x%llx", path,
		    (unsigned long long)size, (unsigned long long)gpa,
		    (unsigned long long)m->regions[0].size_bytes);
	else
		status = image_read(fd, path, to, size, f);
	close(fd);
	return status;
}

int64_t memory_firmware_size(const char *path, struct fault *f)
{
	int64_t size = image_size(path, f);

	if (size < 0)
		return -1;
	if (size > (int64_t)MAX_ROM || size % 4096 != 0)
		return fault_set(
		    f, STATUS_IMAGE,
		    "%s has %llu bytes: firmware has a multiple of 4096, at most 16 MiB", path,
		    (unsigned long long)size);
	return size;
}

int memory_load_firmware(const struct memory *m, const char *path, struct fault *f)
{
	const struct kvmcpu_memory_region *rom = &m->regions[m->n_regions - 1];
	uint8_t *to = m->map + rom->offset;
	uint64_t size, shadow = rom->size_bytes < SHADOW_SIZE ? rom->size_bytes : SHADOW_SIZE;
	int fd = image_open(path, &size, f), status;

	if (fd < 0)
		return -1;
	if (size == rom->size_bytes)
		status = image_read(fd, path, to, size, f);
	else
		status =
		    fault_set(f, STATUS_IMAGE, "cannot load %s: its size changed meanwhile", path);
	close(fd);
	if (status < 0)
		return -1;
	uint8_t *low = memory_at(m, SHADOW_GPA + SHADOW_SIZE - shadow, shadow, true);
	if (low == NULL)
		return fault_set(f, STATUS_IMAGE, "firmware needs RAM up to 1 MiB at least");
	memcpy(low, to + rom->size_bytes - shadow, shadow);
	return 0;
}

int memory_open_read_only(const struct memory *m)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
