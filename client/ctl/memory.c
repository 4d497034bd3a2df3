/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl memory read and memory write: guest memory of any size, by
 * guest-physical address. --json prints what one answer to the whole read would
 * be, although it may have taken several.
 */
#include "config.h"

#include "ctl.h"
#include "out.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

#define MAX_READ (1ull << 32) /* it is held in memory; picked, not tuned */

enum { OPTION_RAW = 1 };

static struct {
	bool raw;
	const char *path;
} want;

static const struct option longs[] = {
    {"raw", no_argument, NULL, OPTION_RAW},
    {"output", required_argument, NULL, 'o'},
    {NULL, 0, NULL, 0},
};

static int take_option(int option, const char *value)
{
	if (option == OPTION_RAW)
		want.raw = true;
	else
		want.path = value;
	return 0;
}

static void print_json(uint64_t address, const uint8_t *data, size_t size)
{
	size_t i;

	printf("{\"memory\":{\"address\":%llu,\"data\":\"", (unsigned long long)address);
	for (i = 0; i < size; i++)
		printf("%02x", data[i]);
	puts("\"}}");
}

static int show(const struct ctl *ctl, uint64_t address, const uint8_t *data, size_t size)
{
	if (want.path != NULL || want.raw)
		return file_write(want.path, data, size);
	if (ctl->json)
		print_json(address, data, size);
	else
		out_hexdump(address, data, size);
	return CTL_OK;
}

static int run_read(struct ctl *ctl, const char *where, const char *how_much)
{
	uint64_t address, size;
	uint8_t *data;
	int r;

	if (parse_number("ADDRESS", where, UINT64_MAX, &address) != 0 ||
	    parse_size("SIZE", how_much, MAX_READ, &size) != 0)
		return CTL_USAGE;
	data = malloc(size > 0 ? size : 1);
	if (data == NULL)
		return ctl_error(CTL_INTERNAL, "no memory for %llu bytes: read less at a time",
				 (unsigned long long)size);
	r = kvmcpu_control_read_memory(ctl->control, address, data, size);
	r = r < 0 ? ctl_failed(ctl, r) : show(ctl, address, data, size);
	free(data);
	return r;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return isxdigit((unsigned char)c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* "48656c6c6f" in place. */
static int take_hex(char *text, size_t *ret_size)
{
	size_t i, n = strlen(text);

	for (i = 0; i + 1 < n && hex_digit(text[i]) >= 0 && hex_digit(text[i + 1]) >= 0; i += 2)
		text[i / 2] = (char)(hex_digit(text[i]) << 4 | hex_digit(text[i + 1]));
	if (n == 0 || i != n)
		return ctl_error(CTL_USAGE,
				 "BYTES are no pairs of hexadecimal digits: give them as in "
				 "48656c6c6f");
	*ret_size = n / 2;
	return 0;
}

static int run_write(struct ctl *ctl, const char *where, char *bytes)
{
	uint64_t address;
	size_t size = 0;
	int r;

	if (parse_number("ADDRESS", where, UINT64_MAX, &address) != 0 ||
	    take_hex(bytes, &size) != 0)
		return CTL_USAGE;
	r = kvmcpu_control_write_memory(ctl->control, address, bytes, size);
	if (r < 0)
		return ctl_failed(ctl, r);
	return ctl->json ? ctl_json(ctl) : CTL_OK;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	static const char *const names[] = {"read", "write"};
	char near[64];

	if (strcmp(argv[0], "read") == 0)
		return run_read(ctl, argv[1], argv[2]);
	if (strcmp(argv[0], "write") == 0)
		return run_write(ctl, argv[1], argv[2]);
	ctl_suggest(argv[0], names, 2, near, sizeof(near));
	return ctl_error(CTL_USAGE, "'memory %s' is no command%s; there are read and write",
			 argv[0], near);
}

const struct command memory_command = {
    .name = "memory",
    .arguments = "read ADDRESS SIZE | write ADDRESS BYTES",
    .summary = "Reads guest memory, or writes it",
    .details = "ADDRESS is guest-physical; SIZE may end in K, M or G; BYTES are hexadecimal.\n"
	       "  -o, --output FILE  write what was read there, as it is\n"
	       "  --raw              write it to standard output, as it is\n",
    .shorts = "o:",
    .longs = longs,
    .option = take_option,
    .min_arguments = 3,
    .max_arguments = 3,
    .run = run,
};
