/* SPDX-License-Identifier: MIT
 *
 * A frame is a varint, seven bits a byte with the lowest first, and as many
 * bytes as it says. The limit is checked as soon as the varint is whole, before
 * anybody thinks of memory for what follows.
 */
#include "config.h"

#include "frame.h"

#include <assert.h>
#include <errno.h>

size_t frame_put_header(uint8_t *buf, size_t size)
{
	size_t n = 0;

	assert(size <= UINT32_MAX);
	while (size >= 0x80) {
		buf[n++] = (uint8_t)(size | 0x80);
		size >>= 7;
	}
	buf[n++] = (uint8_t)size;
	return n;
}

int frame_parse(const uint8_t *buf, size_t have, size_t max, size_t *ret_header, size_t *ret_size)
{
	size_t size = 0, n = 0;

	for (;;) {
		if (n == have) {
			*ret_header = 0;
			*ret_size = 0;
			return 0;
		}
		/* The fifth byte holds bits 28 to 31 and must be the last. */
		if (n == FRAME_HEADER_MAX - 1 && buf[n] > 0x0f)
			return -EBADMSG;
		size |= (size_t)(buf[n] & 0x7f) << (7 * n);
		if (!(buf[n++] & 0x80))
			break;
	}
	if (size > max)
		return -EMSGSIZE;
	*ret_header = n;
	*ret_size = size;
	return have - n >= size;
}
