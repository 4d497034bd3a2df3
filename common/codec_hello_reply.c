/* SPDX-License-Identifier: MIT
 *
 * HelloReply, with what it shares with control's responses: what the VM is and
 * where its memory lies. It comes from the daemon, so unpacking converts more
 * than it checks.
 */
#include "config.h"

#include "codec_internal.h"

#include <errno.h>

void codec_put_vm_info(struct wire *w, const struct kvmcpu_vm_info *v)
{
	wire_string(w, 1, v->name);
	wire_uint(w, 2, v->vcpus);
	wire_uint(w, 3, v->memory_bytes);
	wire_uint(w, 4, v->ticks_per_second);
	wire_uint(w, 5, v->irqchip);
	wire_uint(w, 6, v->instance);
}

void codec_put_memory_map(struct wire *w, const struct kvmcpu_memory_map *m)
{
	for (size_t i = 0; i < m->n_regions; i++) {
		uint8_t *mark = wire_begin(w, 1);

		wire_uint(w, 1, m->regions[i].address);
		wire_uint(w, 2, m->regions[i].size_bytes);
		wire_uint(w, 3, m->regions[i].offset);
		wire_uint(w, 4, m->regions[i].read_only);
		wire_end(w, mark);
	}
	wire_uint(w, 2, m->descriptor_follows);
}

int codec_pack_hello_reply(const struct kvmcpu_hello_reply *r, uint8_t *buf, size_t size)
{
	struct wire w;
	uint8_t *mark;

	wire_init(&w, buf, size);
	wire_uint(&w, 1, r->status);
	wire_string(&w, 2, r->message);
	wire_uint(&w, 3, r->major);
	wire_uint(&w, 4, r->minor);
	wire_string(&w, 5, r->daemon_version);
	mark = wire_begin(&w, 6);
	codec_put_vm_info(&w, &r->vm);
	wire_end(&w, mark);
	wire_uint(&w, 7, r->client_id);
	if (r->has_memory) {
		mark = wire_begin(&w, 8);
		codec_put_memory_map(&w, &r->memory);
		wire_end(&w, mark);
	}
	return wire_finish(&w);
}

void codec_get_vm_info(const Kvmcpud__V1__VmInfo *m, struct kvmcpu_vm_info *ret)
{
	ret->name = m ? m->name : "";
	if (!m)
		return;
	ret->vcpus = m->vcpus;
	ret->memory_bytes = m->memory_bytes;
	ret->ticks_per_second = m->ticks_per_second;
	ret->irqchip = (enum kvmcpu_irqchip)m->irqchip;
	ret->instance = m->instance;
}

int codec_get_memory_map(const Kvmcpud__V1__MemoryMap *m, const struct codec_in *in,
			 struct kvmcpu_memory_map *ret)
{
	struct kvmcpu_memory_region *regions;
	int r = codec_array(in, m->n_regions, sizeof(*regions), &regions);

	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_regions; i++) {
		regions[i].address = m->regions[i]->address;
		regions[i].size_bytes = m->regions[i]->size_bytes;
		regions[i].offset = m->regions[i]->offset;
		regions[i].read_only = m->regions[i]->read_only;
	}
	ret->regions = regions;
	ret->n_regions = m->n_regions;
	ret->descriptor_follows = m->descriptor_follows;
	return 0;
}

int codec_unpack_hello_reply(const uint8_t *buf, size_t size, struct codec_arena *a,
			     struct kvmcpu_hello_reply *ret, struct codec_error *err)
{
	struct codec_in in = {.arena = a, .err = err};
	Kvmcpud__V1__HelloReply *m;
	int r;

	r = codec_parse(&kvmcpud__v1__hello_reply__descriptor, buf, size, &in, &m);
	if (r < 0)
		return r;
	if (!m->status)
		return codec_fail(err, -EPROTO, "a HelloReply without a status");
	*ret = (struct kvmcpu_hello_reply){
	    .status = (enum kvmcpu_hello_status)m->status,
	    .message = codec_clean_text(m->message),
	    .major = m->major,
	    .minor = m->minor,
	    .daemon_version = codec_clean_text(m->daemon_version),
	    .client_id = m->client_id,
	    .has_memory = m->memory,
	};
	codec_get_vm_info(m->vm, &ret->vm);
	return m->memory ? codec_get_memory_map(m->memory, &in, &ret->memory) : 0;
}
