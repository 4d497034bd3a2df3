/* SPDX-License-Identifier: MIT
 *
 * The way in: bytes become protobuf-c's structures in the arena, and the checks
 * that several messages share. protobuf-c reports every failure as NULL, so the
 * allocator remembers whether it was the arena that ran out. It also lets any
 * bytes pass for a string and ends them at the first NUL; codec_check_text goes
 * over the packed bytes by protobuf-c's own descriptors to see the whole string.
 */
#include "config.h"

#include "codec_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

struct parse_memory {
	ProtobufCAllocator allocator;
	struct codec_arena *arena;
	bool exhausted;
};

static void *parse_alloc(void *data, size_t size)
{
	struct parse_memory *m = data;
	void *p = codec_arena_alloc(m->arena, size);

	m->exhausted |= !p;
	return p;
}

static void parse_free(void *data, void *p)
{
	(void)data;
	(void)p; /* the arena takes everything back at once */
}

int codec_parse(const ProtobufCMessageDescriptor *d, const uint8_t *buf, size_t size,
		const struct codec_in *in, void *ret)
{
	struct parse_memory m = {
	    .allocator = {.alloc = parse_alloc, .free = parse_free, .allocator_data = &m},
	    .arena = in->arena,
	};
	ProtobufCMessage *message = protobuf_c_message_unpack(d, &m.allocator, size, buf);

	if (message) {
		memcpy(ret, &message, sizeof(message));
		return 0;
	}
	if (m.exhausted)
		return codec_fail(in->err, -ENOMEM, "%s of %zu bytes takes more memory than it may",
				  d->short_name, size);
	return codec_fail(in->err, -EBADMSG, "%zu bytes that are no %s message", size,
			  d->short_name);
}

int codec_fail(struct codec_error *err, int code, const char *format, ...)
{
	va_list args;

	if (!err)
		return code;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return code;
}

int codec_fail_at(struct codec_error *err, int code, const char *what, size_t number)
{
	struct codec_error inner;

	if (!err)
		return code;
	inner = *err;
	return codec_fail(err, code, "%s %zu: %.150s", what, number, inner.text);
}

int codec_array(const struct codec_in *in, size_t n, size_t element_size, void *ret)
{
	void *p = NULL;

	if (n) {
		/* n is a count of parsed messages, so the product cannot overflow. */
		p = codec_arena_alloc(in->arena, n * element_size);
		if (!p)
			return codec_fail(in->err, -ENOMEM,
					  "a list of %zu takes more memory than it may", n);
		memset(p, 0, n * element_size);
	}
	memcpy(ret, &p, sizeof(p));
	return 0;
}

/* Length of the UTF-8 sequence at s, or 0 if there is none. */
static size_t utf8_sequence(const uint8_t *s, size_t left)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return s[0] != 0;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (n > left)
		return 0;
	if (s[0] == 0xe0) /* shorter forms exist */
		low = 0xa0;
	if (s[0] == 0xed) /* surrogates */
		high = 0x9f;
	if (s[0] == 0xf0)
		low = 0x90;
	if (s[0] == 0xf4) /* past U+10FFFF */
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static bool utf8_valid(const uint8_t *s, size_t size)
{
	for (size_t i = 0, n; i < size; i += n) {
		n = utf8_sequence(s + i, size - i);
		if (!n)
			return false;
	}
	return true;
}

static int check_field(const ProtobufCMessageDescriptor *d, unsigned int number,
		       const uint8_t *data, size_t size, struct codec_error *err)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(d, number);

	if (f && f->type == PROTOBUF_C_TYPE_STRING && !utf8_valid(data, size))
		return codec_fail(err, -EPROTO, "%s.%s is not UTF-8 text without NULs",
				  d->short_name, f->name);
	if (f && f->type == PROTOBUF_C_TYPE_MESSAGE)
		return codec_check_text(f->descriptor, data, size, err);
	return 0;
}

int codec_check_text(const ProtobufCMessageDescriptor *d, const uint8_t *buf, size_t size,
		     struct codec_error *err)
{
	const uint8_t *p = buf, *end = buf + size;
	uint64_t tag, value;
	int r;

	while (p < end) {
		if (!codec_read_varint(&p, end, &tag))
			goto malformed;
		value = 0;
		if ((tag & 7) == 0 || (tag & 7) == 2) {
			if (!codec_read_varint(&p, end, &value))
				goto malformed;
		}
		if ((tag & 7) == 0)
			continue;
		if ((tag & 7) != 2)
			value = (tag & 7) == 1 ? 8 : 4;
		if ((uint64_t)(end - p) < value)
			goto malformed;
		if ((tag & 7) == 2) {
			r = check_field(d, (unsigned int)(tag >> 3), p, value, err);
			if (r < 0)
				return r;
		}
		p += value;
	}
	return 0;

malformed:
	return codec_fail(err, -EPROTO, "%s is malformed", d->short_name);
}

const char *codec_clean_text(char *s)
{
	for (char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	return s;
}

int codec_check_name(const char *what, const char *name, struct codec_error *err)
{
	size_t n = name ? strlen(name) : 0;

	if (n > KVMCPU_MAX_NAME)
		return codec_fail(err, -EPROTO, "%s is %zu bytes long, at most %d are allowed",
				  what, n, KVMCPU_MAX_NAME);
	for (size_t i = 0; i < n; i++)
		if (name[i] < 0x20 || name[i] > 0x7e)
			return codec_fail(
			    err, -EPROTO,
			    "%s has byte 0x%02x at offset %zu, which is not printable ASCII", what,
			    (unsigned char)name[i], i);
	return 0;
}

int codec_check_vcpu(uint32_t vcpu, struct codec_error *err)
{
	if (vcpu < KVMCPU_MAX_VCPUS)
		return 0;
	return codec_fail(err, -EPROTO, "vcpu %u is above %d, the highest index", vcpu,
			  KVMCPU_MAX_VCPUS - 1);
}

int codec_check_span(uint64_t address, size_t size, struct codec_error *err)
{
	if (address + (size - 1) >= address)
		return 0;
	return codec_fail(err, -EPROTO, "%zu bytes at 0x%llx wrap around 2^64", size,
			  (unsigned long long)address);
}

int codec_get_vcpus(const uint32_t *vcpus, size_t n, const struct codec_in *in, uint64_t *ret)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < n; i++) {
		int r = codec_check_vcpu(vcpus[i], in->err);

		if (r < 0)
			return r;
		mask |= UINT64_C(1) << vcpus[i];
	}
	*ret = mask;
	return 0;
}
