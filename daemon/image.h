/* SPDX-License-Identifier: MIT
 *
 * Reading the files that a VM is started from. A file is taken whole; one that
 * is no regular file, empty, or changes meanwhile is refused with its name.
 */
#ifndef KVMCPUD_IMAGE_H
#define KVMCPUD_IMAGE_H

#include <stdint.h>

#include "fault.h"

/* A descriptor that the caller owns, and the file's size, at least 1. Or -1. */
int image_open(const char *path, uint64_t *ret_size, struct fault *f);
/* Reads size bytes from where the descriptor stands. path is for the message. */
int image_read(int fd, const char *path, uint8_t *to, uint64_t size, struct fault *f);
/* The file's size, or -1. */
int64_t image_size(const char *path, struct fault *f);
/* The whole file in memory that the caller frees, or NULL. A file of more than
 * max_bytes is refused. */
uint8_t *image_take(const char *path, uint64_t max_bytes, uint64_t *ret_size, struct fault *f);

#endif
