/* SPDX-License-Identifier: MIT
 *
 * JSON by protobuf-c's descriptors: each says where a field lies in the unpacked
 * structure and of what type it is, so the walk knows no message by name and a
 * new field or kind of exit needs nothing here.
 */
#include "config.h"

#include "json.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>

#include "codec_internal.h"

/* Of the unpacked message; a frame of 1 MiB full of exits takes about half. A
 * JSON object is some 15 times as large as the smallest message. */
#define MEMORY_LIMIT (16u << 20)
/* The descriptors' names outlive every object. */
#define NEW_KEY (JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_KEY_IS_CONSTANT)

static const ProtobufCMessageDescriptor *const descriptors[] = {
    [JSON_EXIT] = &kvmcpud__v1__exit__descriptor,
    [JSON_REPLY] = &kvmcpud__v1__exit_reply__descriptor,
    [JSON_EVENT] = &kvmcpud__v1__event__descriptor,
    [JSON_EVENT_BATCH] = &kvmcpud__v1__event_batch__descriptor,
    [JSON_HELLO] = &kvmcpud__v1__hello__descriptor,
    [JSON_HELLO_REPLY] = &kvmcpud__v1__hello_reply__descriptor,
    [JSON_REQUEST] = &kvmcpud__v1__request__descriptor,
    [JSON_RESPONSE] = &kvmcpud__v1__response__descriptor,
};

static struct json_object *from_message(const ProtobufCMessage *m);

static struct json_object *from_bytes(const ProtobufCBinaryData *data)
{
	static const char digits[] = "0123456789abcdef";
	struct json_object *o;
	char *hex = malloc(2 * data->len + 1);

	if (!hex)
		return NULL;
	for (size_t i = 0; i < data->len; i++) {
		hex[2 * i] = digits[data->data[i] >> 4];
		hex[2 * i + 1] = digits[data->data[i] & 15];
	}
	o = json_object_new_string_len(hex, (int)(2 * data->len));
	free(hex);
	return o;
}

static struct json_object *from_enum(const ProtobufCEnumDescriptor *d, int value)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);

	return v ? json_object_new_string(v->name) : json_object_new_int(value);
}

/* One value of field f at p. */
static struct json_object *from_value(const ProtobufCFieldDescriptor *f, const void *p)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		return json_object_new_boolean(*(const protobuf_c_boolean *)p);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_object_new_uint64(*(const uint32_t *)p);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_object_new_uint64(*(const uint64_t *)p);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_object_new_int64(*(const int32_t *)p);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return json_object_new_int64(*(const int64_t *)p);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_object_new_double((double)*(const float *)p);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_object_new_double(*(const double *)p);
	case PROTOBUF_C_TYPE_ENUM:
		return from_enum(f->descriptor, *(const int *)p);
	case PROTOBUF_C_TYPE_STRING:
		return json_object_new_string(*(char *const *)p);
	case PROTOBUF_C_TYPE_BYTES:
		return from_bytes(p);
	case PROTOBUF_C_TYPE_MESSAGE:
		return from_message(*(ProtobufCMessage *const *)p);
	}
	return NULL;
}

static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return 4;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 8;
	}
}

static struct json_object *from_list(const ProtobufCFieldDescriptor *f, const char *base)
{
	size_t n = *(const size_t *)(base + f->quantifier_offset);
	const char *values = *(const char *const *)(base + f->offset);
	struct json_object *list = json_object_new_array_ext((int)n);

	for (size_t i = 0; list && i < n; i++)
		json_object_array_add(list, from_value(f, values + i * value_size(f->type)));
	return list;
}

static bool field_is_set(const ProtobufCFieldDescriptor *f, const char *base)
{
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)(base + f->quantifier_offset) == f->id;
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(ProtobufCMessage *const *)(base + f->offset);
	return true;
}

static struct json_object *from_message(const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	const char *base = (const char *)m;
	struct json_object *o = json_object_new_object();

	for (unsigned int i = 0; o && i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];

		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			json_object_object_add_ex(o, f->name, from_list(f, base), NEW_KEY);
		else if (field_is_set(f, base))
			json_object_object_add_ex(o, f->name, from_value(f, base + f->offset),
						  NEW_KEY);
	}
	return o;
}

struct json_object *json_from_message(enum json_message type, const uint8_t *buf, size_t size,
				      struct codec_error *err)
{
	const ProtobufCMessageDescriptor *d = descriptors[type];
	struct codec_arena arena;
	struct codec_in in = {.arena = &arena, .err = err};
	struct json_object *o = NULL;
	ProtobufCMessage *m;

	codec_arena_growing(&arena, MEMORY_LIMIT);
	if (codec_parse(d, buf, size, &in, &m) == 0 && codec_check_text(d, buf, size, err) == 0) {
		o = from_message(m);
		if (!o)
			codec_fail(err, -ENOMEM, "no memory for %s as JSON", d->short_name);
	}
	codec_arena_free(&arena);
	return o;
}
