/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl schema: the FileDescriptorSet, with which a client can be written
 * that has no .proto at hand. It is binary, so a terminal does not get it.
 */
#include "config.h"

#include "ctl.h"

#include <unistd.h>

#include "file.h"

static const char *path;

static const struct option longs[] = {
    {"output", required_argument, NULL, 'o'},
    {NULL, 0, NULL, 0},
};

static int take_option(int option, const char *value)
{
	path = value;
	return 0;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	const void *data;
	size_t size;
	int r;

	if (path == NULL && !ctl->json && isatty(STDOUT_FILENO))
		return ctl_error(CTL_USAGE, "the schema is binary: name a file with -o, or pipe it "
					    "into 'protoc --decode_raw'");
	r = kvmcpu_control_schema(ctl->control, &data, &size);
	if (r < 0)
		return ctl_failed(ctl, r);
	return ctl->json ? ctl_json(ctl) : file_write(path, data, size);
}

const struct command schema_command = {
    .name = "schema",
    .arguments = "",
    .summary = "Fetches the protocol's FileDescriptorSet",
    .details = "  -o, --output FILE  write it there (default: standard output)\n",
    .shorts = "o:",
    .longs = longs,
    .option = take_option,
    .run = run,
};
