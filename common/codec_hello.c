/* SPDX-License-Identifier: MIT
 *
 * Hello: who a client is and what it claims or watches. It is the first thing
 * that a stranger sends, so everything in it is checked here, and the version
 * before all else: a Hello of another major version has no other meaning yet.
 */
#include "config.h"

#include "codec_internal.h"

#include <errno.h>

static void put_claim(struct wire *w, const struct kvmcpu_claim *c)
{
	uint8_t *mark = wire_begin(w, 1);

	wire_uint(w, 1, c->space);
	wire_uint(w, 2, c->first);
	wire_uint(w, 3, c->last);
	wire_string(w, 4, c->name);
	wire_uint(w, 5, c->absence);
	wire_uint(w, 6, c->fill);
	wire_end(w, mark);
}

static void put_filter(struct wire *w, const struct kvmcpu_filter *f)
{
	wire_mask(w, 1, f->vcpu_mask);
	wire_mask(w, 2, f->kind_mask);
	for (size_t i = 0; i < f->n_ranges; i++) {
		uint8_t *mark = wire_begin(w, 3);

		wire_uint(w, 1, f->ranges[i].space);
		wire_uint(w, 2, f->ranges[i].first);
		wire_uint(w, 3, f->ranges[i].last);
		wire_end(w, mark);
	}
	wire_uint(w, 4, f->no_states);
}

int codec_pack_filter(const struct kvmcpu_filter *f, uint8_t *buf, size_t size)
{
	struct wire w;

	wire_init(&w, buf, size);
	put_filter(&w, f);
	return wire_finish(&w);
}

static void put_device(struct wire *w, const struct kvmcpu_hello *h)
{
	uint8_t *mark = wire_begin(w, 8);

	for (size_t i = 0; i < h->device.n_claims; i++)
		put_claim(w, &h->device.claims[i]);
	wire_mask(w, 2, h->device.vcpu_mask);
	wire_end(w, mark);
}

static void put_monitor(struct wire *w, const struct kvmcpu_hello *h)
{
	uint8_t *mark = wire_begin(w, 9), *inner = wire_begin(w, 1);

	put_filter(w, &h->monitor.filter);
	wire_end(w, inner);
	wire_uint(w, 2, h->monitor.want_memory);
	wire_end(w, mark);
}

int codec_pack_hello(const struct kvmcpu_hello *h, uint8_t *buf, size_t size)
{
	struct wire w;

	wire_init(&w, buf, size);
	wire_uint(&w, 1, h->major);
	wire_uint(&w, 2, h->minor);
	wire_string(&w, 3, h->client);
	wire_uint(&w, 4, h->takes_descriptors);
	switch (h->role) {
	case KVMCPU_ROLE_DEVICE:
		put_device(&w, h);
		break;
	case KVMCPU_ROLE_MONITOR:
		put_monitor(&w, h);
		break;
	case KVMCPU_ROLE_CONTROL:
		wire_message(&w, 10, NULL, 0);
		break;
	}
	return wire_finish(&w);
}

static int check_range(unsigned int space, uint64_t first, uint64_t last, struct codec_error *err)
{
	if (space < KVMCPU_SPACE_PIO || space > KVMCPU_SPACE_HALT)
		return codec_fail(err, -EPROTO, "space %u is not known here", space);
	if (first > last)
		return codec_fail(err, -EPROTO, "%s range begins at 0x%llx, above its end 0x%llx",
				  codec_space_name(space), (unsigned long long)first,
				  (unsigned long long)last);
	return 0;
}

static int check_end(const struct kvmcpu_claim *c, struct codec_error *err)
{
	uint64_t end = UINT64_MAX;

	if (c->space == KVMCPU_SPACE_PIO)
		end = 0xffff;
	else if (c->space == KVMCPU_SPACE_MSR)
		end = UINT32_MAX;
	else if (c->space == KVMCPU_SPACE_HALT)
		end = 0;
	if (c->last <= end)
		return 0;
	return codec_fail(err, -EPROTO, "%s range 0x%llx-0x%llx ends past 0x%llx",
			  codec_space_name(c->space), (unsigned long long)c->first,
			  (unsigned long long)c->last, (unsigned long long)end);
}

int codec_check_claim(const struct kvmcpu_claim *c, struct codec_error *err)
{
	int r = check_range(c->space, c->first, c->last, err);

	if (r == 0)
		r = check_end(c, err);
	if (r == 0)
		r = codec_check_name("its name", c->name, err);
	if (r == 0 && c->absence > KVMCPU_ABSENCE_FILL)
		r = codec_fail(err, -EPROTO, "absence %u is not known here", c->absence);
	return r;
}

static int get_claim(const Kvmcpud__V1__Claim *m, const struct codec_in *in,
		     struct kvmcpu_claim *ret)
{
	*ret = (struct kvmcpu_claim){
	    .space = (enum kvmcpu_space)m->space,
	    .first = m->first,
	    .last = m->last,
	    .name = m->name,
	    .absence = (enum kvmcpu_absence)m->absence,
	    .fill = m->fill,
	};
	if (!m->absence)
		ret->absence = KVMCPU_ABSENCE_FREEZE;
	return codec_check_claim(ret, in->err);
}

static int get_device(const Kvmcpud__V1__DeviceHello *m, const struct codec_in *in,
		      struct kvmcpu_hello *ret)
{
	struct kvmcpu_claim *claims;
	int r;

	if (!m->n_claims || m->n_claims > KVMCPU_MAX_CLAIMS)
		return codec_fail(in->err, -EPROTO, "%zu claims, not 1 to %d", m->n_claims,
				  KVMCPU_MAX_CLAIMS);
	r = codec_array(in, m->n_claims, sizeof(*claims), &claims);
	for (size_t i = 0; r == 0 && i < m->n_claims; i++) {
		r = get_claim(m->claims[i], in, &claims[i]);
		if (r < 0)
			r = codec_fail_at(in->err, r, "claim", i);
	}
	ret->device.claims = claims;
	ret->device.n_claims = m->n_claims;
	if (r == 0)
		r = codec_get_vcpus(m->vcpus, m->n_vcpus, in, &ret->device.vcpu_mask);
	return r;
}

static int get_kinds(const Kvmcpud__V1__Filter *m, const struct codec_in *in, uint32_t *ret)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < m->n_kinds; i++) {
		unsigned int kind = m->kinds[i];

		/* One left out would turn "only these" into "all". */
		if (kind > KVMCPU_EXIT_UNKNOWN || codec_kind_name(kind)[0] == '?')
			return codec_fail(in->err, -EPROTO,
					  "filter: exit kind %u is not known here", kind);
		mask |= UINT32_C(1) << kind;
	}
	*ret = mask;
	return 0;
}

static int check_filter_size(const char *what, size_t n, const struct codec_in *in)
{
	if (n <= KVMCPU_MAX_FILTER)
		return 0;
	return codec_fail(in->err, -EPROTO, "filter: %zu %s, at most %d are allowed", n, what,
			  KVMCPU_MAX_FILTER);
}

static int get_ranges(const Kvmcpud__V1__Filter *m, const struct codec_in *in,
		      struct kvmcpu_filter *ret)
{
	for (size_t i = 0; i < m->n_ranges; i++) {
		const Kvmcpud__V1__AddressRange *range = m->ranges[i];
		int r = check_range(range->space, range->first, range->last, in->err);

		if (r < 0)
			return codec_fail_at(in->err, r, "filter: range", i);
		ret->ranges[i].space = (enum kvmcpu_space)range->space;
		ret->ranges[i].first = range->first;
		ret->ranges[i].last = range->last;
	}
	ret->n_ranges = m->n_ranges;
	return 0;
}

static int get_filter(const Kvmcpud__V1__Filter *m, const struct codec_in *in,
		      struct kvmcpu_filter *ret)
{
	int r = check_filter_size("vcpus", m->n_vcpus, in);

	if (r == 0)
		r = check_filter_size("kinds", m->n_kinds, in);
	if (r == 0)
		r = check_filter_size("ranges", m->n_ranges, in);
	if (r == 0)
		r = codec_get_vcpus(m->vcpus, m->n_vcpus, in, &ret->vcpu_mask);
	if (r == 0)
		r = get_kinds(m, in, &ret->kind_mask);
	if (r == 0)
		r = get_ranges(m, in, ret);
	ret->no_states = m->no_states;
	return r;
}

int codec_unpack_filter(const uint8_t *buf, size_t size, struct kvmcpu_filter *ret,
			struct codec_arena *a, struct codec_error *err)
{
	struct codec_in in = {.arena = a, .err = err};
	Kvmcpud__V1__Filter *m;
	int r;

	r = codec_parse(&kvmcpud__v1__filter__descriptor, buf, size, &in, &m);
	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	return get_filter(m, &in, ret);
}

static int get_role(const Kvmcpud__V1__Hello *m, const struct codec_in *in,
		    struct kvmcpu_hello *ret)
{
	switch (m->role_case) {
	case KVMCPUD__V1__HELLO__ROLE_DEVICE:
		ret->role = KVMCPU_ROLE_DEVICE;
		return get_device(m->device, in, ret);
	case KVMCPUD__V1__HELLO__ROLE_MONITOR:
		ret->role = KVMCPU_ROLE_MONITOR;
		ret->monitor.want_memory = m->monitor->want_memory;
		return m->monitor->filter ? get_filter(m->monitor->filter, in, &ret->monitor.filter)
					  : 0;
	case KVMCPUD__V1__HELLO__ROLE_CONTROL:
		ret->role = KVMCPU_ROLE_CONTROL;
		return 0;
	default:
		return codec_fail(in->err, -EPROTO, "a Hello of no role known here");
	}
}

int codec_unpack_hello(const uint8_t *buf, size_t size, struct codec_arena *a,
		       struct kvmcpu_hello *ret, struct codec_error *err)
{
	const ProtobufCMessageDescriptor *d = &kvmcpud__v1__hello__descriptor;
	struct codec_in in = {.arena = a, .err = err};
	Kvmcpud__V1__Hello *m;
	int r;

	r = codec_parse(d, buf, size, &in, &m);
	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	ret->major = m->major;
	ret->minor = m->minor;
	ret->client = "";
	if (m->major != KVMCPU_PROTOCOL_MAJOR)
		return 0;
	r = codec_check_text(d, buf, size, err);
	if (r == 0)
		r = codec_check_name("the client's name", m->client, err);
	if (r == 0 && !m->client[0])
		r = codec_fail(err, -EPROTO, "the client's name is empty");
	if (r < 0)
		return r;
	ret->client = m->client;
	ret->takes_descriptors = m->takes_descriptors;
	return get_role(m, &in, ret);
}
