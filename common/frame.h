/* SPDX-License-Identifier: MIT
 *
 * Framing: a message's length as a protobuf varint, then the message. Pure
 * functions over caller's memory; nothing is allocated, so a hostile length
 * costs nothing.
 */
#ifndef KVMCPU_FRAME_H
#define KVMCPU_FRAME_H

#include <stddef.h>
#include <stdint.h>

/* The longest header: 32 bits in groups of 7. */
#define FRAME_HEADER_MAX 5

/* Writes the header of a frame of size bytes (at most UINT32_MAX) to buf, which
 * has room for FRAME_HEADER_MAX. Returns the header's length. */
size_t frame_put_header(uint8_t *buf, size_t size);

/* Looks for a whole frame at the start of the have bytes at buf.
 *
 * Returns 1 and sets *ret_header and *ret_size (the message is at buf +
 * *ret_header) if it is all there; 0 if more bytes are needed, with both set as
 * soon as the header is whole and 0 before; -EMSGSIZE if it would be longer
 * than max; -EBADMSG if the header is no varint of 32 bits. */
int frame_parse(const uint8_t *buf, size_t have, size_t max, size_t *ret_header, size_t *ret_size);

#endif
