/* SPDX-License-Identifier: MIT
 *
 * Tables say which field of which of KVM's structures is a register of what
 * name and width. A dump costs a dozen ioctls: it is for fatal exits and for
 * those who ask.
 */
#include "config.h"

#include "dump.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/kvm.h>

#include "log.h"
#include "vcpu.h"
#include "vm.h"

#define MAX_GROUPS 9
#define MAX_MSRS 256
#define CODE_BYTES 32
#define XSAVE_BYTES 4096
#define ARENA_BYTES (256u << 10)

struct x86_dump {
	struct codec_arena arena;
	struct kvmcpu_register_group groups[MAX_GROUPS];
	struct kvmcpu_dump dump;
};

/* A register in one of KVM's structures. */
struct field {
	const char *name;
	unsigned offset, size;
};

#define F(type, member)                                                                    \
	{                                                                                  \
#member, offsetof(struct type, member), sizeof(((struct type *)0)->member) \
	}
#define SEG(name)                                                                        \
	F(kvm_sregs, name.base), F(kvm_sregs, name.limit), F(kvm_sregs, name.selector),  \
	    F(kvm_sregs, name.type), F(kvm_sregs, name.present), F(kvm_sregs, name.dpl), \
	    F(kvm_sregs, name.db), F(kvm_sregs, name.s), F(kvm_sregs, name.l),           \
	    F(kvm_sregs, name.g)

static const struct field regs_fields[] = {
    F(kvm_regs, rip),
    F(kvm_regs, rflags),
    F(kvm_regs, rax),
    F(kvm_regs, rbx),
    F(kvm_regs, rcx),
    F(kvm_regs, rdx),
    F(kvm_regs, rsi),
    F(kvm_regs, rdi),
    F(kvm_regs, rsp),
    F(kvm_regs, rbp),
    F(kvm_regs, r8),
    F(kvm_regs, r9),
    F(kvm_regs, r10),
    F(kvm_regs, r11),
    F(kvm_regs, r12),
    F(kvm_regs, r13),
    F(kvm_regs, r14),
    F(kvm_regs, r15),
    {0},
};

static const struct field sregs_fields[] = {
    F(kvm_sregs, cr0),
    F(kvm_sregs, cr2),
    F(kvm_sregs, cr3),
    F(kvm_sregs, cr4),
    F(kvm_sregs, cr8),
    F(kvm_sregs, efer),
    F(kvm_sregs, apic_base),
    F(kvm_sregs, gdt.base),
    F(kvm_sregs, gdt.limit),
    F(kvm_sregs, idt.base),
    F(kvm_sregs, idt.limit),
    SEG(cs),
    SEG(ds),
    SEG(es),
    SEG(fs),
    SEG(gs),
    SEG(ss),
    SEG(tr),
    SEG(ldt),
    {"interrupt_bitmap", offsetof(struct kvm_sregs, interrupt_bitmap), 32},
    {0},
};

static const struct field debug_fields[] = {
    F(kvm_debugregs, db[0]),
    F(kvm_debugregs, db[1]),
    F(kvm_debugregs, db[2]),
    F(kvm_debugregs, db[3]),
    F(kvm_debugregs, dr6),
    F(kvm_debugregs, dr7),
    {0},
};

static const struct field events_fields[] = {
    F(kvm_vcpu_events, exception.injected),
    F(kvm_vcpu_events, exception.nr),
    F(kvm_vcpu_events, exception.has_error_code),
    F(kvm_vcpu_events, exception.pending),
    F(kvm_vcpu_events, exception.error_code),
    F(kvm_vcpu_events, interrupt.injected),
    F(kvm_vcpu_events, interrupt.nr),
    F(kvm_vcpu_events, interrupt.soft),
    F(kvm_vcpu_events, interrupt.shadow),
    F(kvm_vcpu_events, nmi.injected),
    F(kvm_vcpu_events, nmi.pending),
    F(kvm_vcpu_events, nmi.masked),
    F(kvm_vcpu_events, sipi_vector),
    F(kvm_vcpu_events, flags),
    F(kvm_vcpu_events, smi.smm),
    F(kvm_vcpu_events, smi.pending),
    {0},
};

static const struct field mp_fields[] = {F(kvm_mp_state, mp_state), {0}};
static const struct field lapic_fields[] = {F(kvm_lapic_state, regs), {0}};
static const struct field xsave_fields[] = {{"xsave", 0, XSAVE_BYTES}, {0}};

static struct kvmcpu_register_group *add_group(struct x86_dump *d, const char *name)
{
	struct kvmcpu_register_group *g = &d->groups[d->dump.n_groups++];

	*g = (struct kvmcpu_register_group){.name = name};
	return g;
}

static void set_error(struct x86_dump *d, struct kvmcpu_register_group *g, const char *text)
{
	char *copy = codec_arena_alloc(&d->arena, strlen(text) + 1);

	g->error = copy != NULL ? strcpy(copy, text) : "no memory";
}

static void add_fields(struct x86_dump *d, struct kvmcpu_register_group *g, const uint8_t *from,
		       const struct field *fields)
{
	size_t n = 0;

	while (fields[n].name != NULL)
		n++;
	struct kvmcpu_register *regs = codec_arena_alloc(&d->arena, n * sizeof(*regs));
	if (regs == NULL)
		return set_error(d, g, "no memory");
	for (size_t i = 0; i < n; i++) {
		const struct field *f = &fields[i];
		regs[i] = (struct kvmcpu_register){.name = f->name};
		if (f->size <= 8) {
			memcpy(&regs[i].value, from + f->offset, f->size);
		} else {
			regs[i].bytes = from + f->offset;
			regs[i].size = f->size;
		}
	}
	g->registers = regs;
	g->n_registers = n;
}

/* One ioctl's structure of size bytes as a group. Returns it, or NULL. */
static const void *add(struct x86_dump *d, int fd, const char *name, unsigned long request,
		       size_t size, const struct field *fields)
{
	struct kvmcpu_register_group *g = add_group(d, name);
	uint8_t *at = codec_arena_alloc(&d->arena, size);

	if (at == NULL) {
		set_error(d, g, "no memory");
		return NULL;
	}
	memset(at, 0, size);
	if (ioctl(fd, request, at) < 0) {
		set_error(d, g, strerror(errno));
		return NULL;
	}
	add_fields(d, g, at, fields);
	return at;
}

static char *number_name(struct x86_dump *d, const char *format, unsigned n)
{
	char *name = codec_arena_alloc(&d->arena, 24);

	if (name != NULL)
		snprintf(name, 24, format, n);
	return name;
}

static void add_xcrs(struct x86_dump *d, int fd)
{
	struct kvmcpu_register_group *g = add_group(d, "xcrs");
	struct kvm_xcrs x = {0};

	if (ioctl(fd, KVM_GET_XCRS, &x) < 0)
		return set_error(d, g, strerror(errno));
	struct kvmcpu_register *regs =
	    codec_arena_alloc(&d->arena, (x.nr_xcrs + 1) * sizeof(*regs));
	if (regs == NULL)
		return set_error(d, g, "no memory");
	for (uint32_t i = 0; i < x.nr_xcrs; i++)
		regs[i] = (struct kvmcpu_register){.name = number_name(d, "xcr%u", x.xcrs[i].xcr),
						   .value = x.xcrs[i].value};
	g->registers = regs;
	g->n_registers = x.nr_xcrs;
}

/* KVM_GET_MSRS stops in silence at the first that it refuses: each is asked for
 * alone, and the refused ones are named. */
static void add_msrs(struct x86_dump *d, int kvm_fd, int fd)
{
	struct kvmcpu_register_group *g = add_group(d, "msrs");
	struct kvm_msr_list *list = codec_arena_alloc(&d->arena, sizeof(*list) + MAX_MSRS * 4);
	struct kvmcpu_register *regs = codec_arena_alloc(&d->arena, MAX_MSRS * sizeof(*regs));
	char refused[256] = "";
	size_t n = 0, used = 0;

	if (list == NULL || regs == NULL)
		return set_error(d, g, "no memory");
	list->nmsrs = MAX_MSRS;
	if (ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, list) < 0)
		return set_error(d, g, strerror(errno));
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		struct {
			struct kvm_msrs head;
			struct kvm_msr_entry entry;
		} one = {.head.nmsrs = 1, .entry.index = list->indices[i]};
		if (ioctl(fd, KVM_GET_MSRS, &one) == 1)
			regs[n++] = (struct kvmcpu_register){
			    .name = number_name(d, "0x%08x", list->indices[i]),
			    .value = one.entry.data};
		else if (used + 32 < sizeof(refused))
			used += (size_t)snprintf(refused + used, sizeof(refused) - used, "%s0x%08x",
						 used ? ", " : "KVM refuses ", list->indices[i]);
	}
	if (used > 0)
		set_error(d, g, refused);
	g->registers = regs;
	g->n_registers = n;
}

static void add_code(struct x86_dump *d, struct vcpu *v, const struct kvm_regs *regs,
		     const struct kvm_sregs *sregs)
{
	struct kvm_translation t = {0};
	const uint8_t *at = NULL;
	uint8_t *copy = codec_arena_alloc(&d->arena, CODE_BYTES);
	uint64_t size = CODE_BYTES;

	if (regs == NULL || sregs == NULL || copy == NULL)
		return;
	t.linear_address = regs->rip + (sregs->cs.l ? 0 : sregs->cs.base);
	if (ioctl(v->fd, KVM_TRANSLATE, &t) < 0 || !t.valid)
		return;
	while (size > 0 &&
	       (at = memory_at(&v->vm->memory, t.physical_address, size, false)) == NULL)
		size--;
	if (at == NULL)
		return;
	memcpy(copy, at, size);
	d->dump.code_address = t.physical_address;
	d->dump.code = copy;
	d->dump.code_size = size;
}

struct x86_dump *x86_dump_take(struct vcpu *v, const char *cause)
{
	struct x86_dump *d = calloc(1, sizeof(*d));
	char *copy;

	if (d == NULL)
		return NULL;
	codec_arena_growing(&d->arena, ARENA_BYTES);
	d->dump.vcpu = v->index;
	d->dump.tick = v->clock.tick;
	d->dump.access_pending = v->completion_due || v->wait_info.cause != KVMCPU_WAIT_NONE;
	copy = codec_arena_alloc(&d->arena, strlen(cause) + 1);
	d->dump.cause = copy != NULL ? strcpy(copy, cause) : "";
	const struct kvm_regs *regs =
	    add(d, v->fd, "regs", KVM_GET_REGS, sizeof(struct kvm_regs), regs_fields);
	const struct kvm_sregs *sregs =
	    add(d, v->fd, "sregs", KVM_GET_SREGS, sizeof(struct kvm_sregs), sregs_fields);
	add_xcrs(d, v->fd);
	add(d, v->fd, "debugregs", KVM_GET_DEBUGREGS, sizeof(struct kvm_debugregs), debug_fields);
	add(d, v->fd, "events", KVM_GET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events), events_fields);
	add(d, v->fd, "mp_state", KVM_GET_MP_STATE, sizeof(struct kvm_mp_state), mp_fields);
	add_msrs(d, v->vm->kvm_fd, v->fd);
	add(d, v->fd, "xsave", KVM_GET_XSAVE, XSAVE_BYTES, xsave_fields);
	if (v->vm->options->irqchip == KVMCPU_IRQCHIP_KERNEL)
		add(d, v->fd, "lapic", KVM_GET_LAPIC, sizeof(struct kvm_lapic_state), lapic_fields);
	add_code(d, v, regs, sregs);
	d->dump.groups = d->groups;
	return d;
}

bool x86_is_reset(const struct vcpu *v)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	return ioctl(v->fd, KVM_GET_REGS, &regs) == 0 && ioctl(v->fd, KVM_GET_SREGS, &sregs) == 0 &&
	       regs.rip == 0xfff0 && sregs.cs.base == 0xffff0000 && (sregs.cr0 & 1) == 0;
}

const struct kvmcpu_dump *x86_dump_get(const struct x86_dump *d)
{
	return &d->dump;
}

void x86_dump_free(struct x86_dump *d)
{
	if (d == NULL)
		return;
	codec_arena_free(&d->arena);
	free(d);
}

static void log_group(uint32_t vcpu, const struct kvmcpu_register_group *g)
{
	char line[256];
	size_t used = 0;

	for (size_t i = 0; i < g->n_registers; i++) {
		const struct kvmcpu_register *r = &g->registers[i];
		if (r->bytes != NULL)
			continue;
		used += (size_t)snprintf(line + used, sizeof(line) - used, " %s=%llx", r->name,
					 (unsigned long long)r->value);
		if (used > 90 || i + 1 == g->n_registers) {
			log_error("vCPU %u %s:%s", vcpu, g->name, line);
			used = 0;
		}
	}
	if (g->error != NULL)
		log_error("vCPU %u %s: %s", vcpu, g->name, g->error);
}

void x86_dump_log(const struct kvmcpu_dump *dump)
{
	char code[3 * CODE_BYTES + 1] = "";

	for (size_t i = 0; i < dump->n_groups; i++)
		log_group(dump->vcpu, &dump->groups[i]);
	for (size_t i = 0; i < dump->code_size && i < CODE_BYTES; i++)
		snprintf(code + 3 * i, 4, " %02x", dump->code[i]);
	if (dump->code_size > 0)
		log_error("vCPU %u code at 0x%llx:%s", dump->vcpu,
			  (unsigned long long)dump->code_address, code);
}
