/* SPDX-License-Identifier: MIT
 *
 * What people read: tables, times, bytes. Everything goes to standard output,
 * without colour, the same into a pipe as to a terminal. Text that clients chose
 * is shown with '?' for what is not printable.
 */
#ifndef KVMCPUCTL_OUT_H
#define KVMCPUCTL_OUT_H

#include <stddef.h>
#include <stdint.h>

#include <kvmcpu/kvmcpu.h>

#define TABLE_COLUMNS 16

/* Cells are added from left to right and from top to bottom. */
struct table {
	size_t columns;
	uint32_t right; /* bit n: column n is aligned at its right */
	size_t n;
	char **cells; /* owned */
};

/* "" is shown as "-". */
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A whole row from "a|b|c". */
void table_header(struct table *t, const char *names);
/* Prints it and takes it back. */
void table_print(struct table *t);

/* A time with its unit, "12.3 us", in a buffer of the caller's. */
#define OUT_TIME 24
const char *out_time(char *buf, uint64_t ns);
/* A size with its unit where it is a whole number of them, "128 MiB". */
const char *out_size(char *buf, uint64_t bytes);
/* "0x402" or "0x402-0x403". */
#define OUT_RANGE 48
const char *out_range(char *buf, uint64_t first, uint64_t last);

/* 16 bytes on a line, behind their address and before their letters. */
void out_hexdump(uint64_t address, const uint8_t *data, size_t size);

/* "reply of 'kvmcpu-pc' (claim 'uart') to pio write 0x3f8, 1 byte, for 1.2 ms";
 * "" if it waits for nobody. */
void out_wait(const struct kvmcpu_vcpu_status *v, uint64_t now_ns, char *buf, size_t size);
/* The table that status, pause and resume show. */
void out_status(const struct kvmcpu_status *s);
/* One line for one event. */
void out_event(const struct kvmcpu_event *e);

/* Why a run by budget has ended, in a few words. */
const char *out_run_end(enum kvmcpu_run_end end);

#endif
