/* SPDX-License-Identifier: MIT
 *
 * Guest memory over a control connection. One request moves at most
 * KVMCPU_MAX_MEMORY_CALL bytes and must stay inside one region of the memory
 * map, so a copy is a loop over pieces. Where the daemon refuses a piece by its
 * range, the map says how much of it lies in the first region.
 */
#include "config.h"

#include "kvmcpu.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "control.h"

int kvmcpu_control_memory_map(struct kvmcpu_control *c, const struct kvmcpu_memory_map **ret,
			      int *ret_fd)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_MEMORY_MAP};
	int r = control_call(c, &q, KVMCPU_RESULT_MEMORY_MAP, 0);
	int fd = c->conn.passed_fd;

	c->conn.passed_fd = -1;
	if (fd >= 0 && (r < 0 || ret_fd == NULL)) {
		close(fd);
		fd = -1;
	}
	if (r < 0)
		return r;
	*ret = &c->response.memory_map;
	if (ret_fd != NULL)
		*ret_fd = fd;
	return 0;
}

/* The bytes from address to the end of its region; 0 if there is none. */
static uint64_t left_in_region(struct kvmcpu_control *c, kvmcpu_gpa_t address)
{
	const struct kvmcpu_memory_map *map;
	size_t i;

	if (kvmcpu_control_memory_map(c, &map, NULL) < 0)
		return 0;
	for (i = 0; i < map->n_regions; i++) {
		const struct kvmcpu_memory_region *m = &map->regions[i];

		if (address >= m->address && address - m->address < m->size_bytes)
			return m->size_bytes - (address - m->address);
	}
	return 0;
}

static int read_piece(struct kvmcpu_control *c, kvmcpu_gpa_t address, uint8_t *buf, size_t size)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_READ_MEMORY};
	int r;

	q.memory.address = address;
	q.memory.size = (uint32_t)size;
	r = control_call(c, &q, KVMCPU_RESULT_MEMORY, 0);
	if (r < 0)
		return r;
	if (c->response.memory.size != size || c->response.memory.address != address)
		return conn_fail(&c->conn, -EPROTO,
				 "the daemon gave %zu bytes of memory at %#llx, not %zu at %#llx",
				 c->response.memory.size,
				 (unsigned long long)c->response.memory.address, size,
				 (unsigned long long)address);
	memcpy(buf, c->response.memory.data, size);
	return 0;
}

static int write_piece(struct kvmcpu_control *c, kvmcpu_gpa_t address, const uint8_t *buf,
		       size_t size)
{
	struct kvmcpu_request q = {.call = KVMCPU_CALL_WRITE_MEMORY};

	q.memory.address = address;
	q.memory.data = buf;
	q.memory.data_size = size;
	return control_call(c, &q, KVMCPU_RESULT_DONE, 0);
}

/* Copies towards into, or out of from, whichever is not NULL. */
static int move(struct kvmcpu_control *c, kvmcpu_gpa_t address, uint8_t *into, const uint8_t *from,
		size_t size)
{
	return into != NULL ? read_piece(c, address, into, size)
			    : write_piece(c, address, from, size);
}

/* Tries again with what lies in the first region; a range that is wrong for any
 * other reason is refused a second time, which leaves the text. */
static int move_in_region(struct kvmcpu_control *c, kvmcpu_gpa_t address, uint8_t *into,
			  const uint8_t *from, size_t *size)
{
	int r = move(c, address, into, from, *size);
	uint64_t left;

	if (r != -ERANGE)
		return r;
	left = left_in_region(c, address);
	if (left > 0 && left < *size)
		*size = (size_t)left;
	return move(c, address, into, from, *size);
}

static int copy(struct kvmcpu_control *c, kvmcpu_gpa_t address, uint8_t *into, const uint8_t *from,
		size_t size)
{
	size_t done, piece;
	int r;

	for (done = 0; done < size; done += piece) {
		piece = size - done < KVMCPU_MAX_MEMORY_CALL ? size - done : KVMCPU_MAX_MEMORY_CALL;
		r = move_in_region(c, address + done, into != NULL ? into + done : NULL,
				   from != NULL ? from + done : NULL, &piece);
		if (r < 0)
			return r;
	}
	return 0;
}

int kvmcpu_control_read_memory(struct kvmcpu_control *c, kvmcpu_gpa_t address, void *buf,
			       size_t size)
{
	return copy(c, address, buf, NULL, size);
}

int kvmcpu_control_write_memory(struct kvmcpu_control *c, kvmcpu_gpa_t address, const void *buf,
				size_t size)
{
	return copy(c, address, NULL, buf, size);
}
