/* SPDX-License-Identifier: MIT
 *
 * A file counts as written when it is closed without complaint.
 */
#include "config.h"

#include "file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

int file_write(const char *path, const void *data, size_t size)
{
	FILE *f = path != NULL ? fopen(path, "we") : stdout;
	bool written;

	if (f == NULL)
		return ctl_error(CTL_IO, "%s cannot be written: %s", path, strerror(errno));
	written = fwrite(data, 1, size, f) == size;
	if (path == NULL)
		return CTL_OK; /* main flushes standard output and complains */
	if (fclose(f) != 0 || !written)
		return ctl_error(CTL_IO, "%s cannot be written: %s", path, strerror(errno));
	return CTL_OK;
}
