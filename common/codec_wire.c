/* SPDX-License-Identifier: MIT
 *
 * The writer that all packers use. A submessage's length stands before it and
 * is known behind it: one byte is left for it, which is enough below 128, and a
 * longer submessage is moved up by what its length needs more.
 */
#include "config.h"

#include "codec_internal.h"

#include <errno.h>
#include <limits.h>

void wire_init(struct wire *w, uint8_t *buf, size_t size)
{
	if (size > INT_MAX) /* the result is an int */
		size = INT_MAX;
	*w = (struct wire){.start = buf, .p = buf, .end = buf + size};
}

int wire_finish(const struct wire *w)
{
	return w->full ? -ENOSPC : (int)(w->p - w->start);
}

void wire_varint_tight(struct wire *w, uint64_t value)
{
	for (;;) {
		if (w->p == w->end) {
			w->full = true;
			return;
		}
		if (value < 0x80)
			break;
		*w->p++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*w->p++ = (uint8_t)value;
}

void wire_raw(struct wire *w, const void *data, size_t size)
{
	if ((size_t)(w->end - w->p) < size) {
		w->full = true;
		return;
	}
	if (size)
		memcpy(w->p, data, size);
	w->p += size;
}

uint8_t *wire_begin(struct wire *w, unsigned int field)
{
	uint8_t *mark;

	wire_tag(w, field, 2);
	mark = w->p;
	wire_varint(w, 0);
	return mark;
}

void wire_end(struct wire *w, uint8_t *mark)
{
	size_t size, more = 0;

	if (w->full)
		return;
	size = (size_t)(w->p - mark) - 1;
	for (size_t rest = size >> 7; rest; rest >>= 7)
		more++;
	if ((size_t)(w->end - w->p) < more) {
		w->full = true;
		return;
	}
	if (more)
		memmove(mark + 1 + more, mark + 1, size);
	w->p += more;
	for (; size >= 0x80; size >>= 7)
		*mark++ = (uint8_t)(size | 0x80);
	*mark = (uint8_t)size;
}

void wire_packed(struct wire *w, unsigned int field, const uint64_t *values, size_t n)
{
	uint8_t *mark;

	if (!n)
		return;
	mark = wire_begin(w, field);
	for (size_t i = 0; i < n; i++)
		wire_varint(w, values[i]);
	wire_end(w, mark);
}

void wire_mask(struct wire *w, unsigned int field, uint64_t mask)
{
	uint64_t values[64];
	size_t n = 0;

	for (unsigned int bit = 0; bit < 64; bit++)
		if (mask >> bit & 1)
			values[n++] = bit;
	wire_packed(w, field, values, n);
}
