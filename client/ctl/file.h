/* SPDX-License-Identifier: MIT
 *
 * Bytes to a file or to standard output.
 */
#ifndef KVMCPUCTL_FILE_H
#define KVMCPUCTL_FILE_H

#include <stddef.h>

/* Writes data to the file path, which is made or emptied, or to standard output
 * if path is NULL. An exit status. */
int file_write(const char *path, const void *data, size_t size);

#endif
