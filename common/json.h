/* SPDX-License-Identifier: MIT
 *
 * Messages as JSON, for kvmcpuctl --json and the exporters. Client programs
 * only; the daemon links no JSON.
 *
 * Keys are the schema's field names, enumerators its names (a number where it
 * has none), bytes lowercase hex, 64-bit integers numbers. Every scalar is
 * there, its default as well, and every list; submessages and members of a oneof
 * only where they are set.
 */
#ifndef KVMCPU_JSON_H
#define KVMCPU_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "codec.h"

struct json_object;

enum json_message {
	JSON_EXIT,
	JSON_REPLY,
	JSON_EVENT,
	JSON_EVENT_BATCH,
	JSON_HELLO,
	JSON_HELLO_REPLY,
	JSON_REQUEST,
	JSON_RESPONSE,
};

/* A packed message as an object that the caller owns (json_object_put), or NULL
 * with err filled in: the bytes are no such message, hold text that is not
 * UTF-8, or take too much memory. Any thread. */
struct json_object *json_from_message(enum json_message type, const uint8_t *buf, size_t size,
				      struct codec_error *err);

#endif
