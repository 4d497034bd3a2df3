/* SPDX-License-Identifier: MIT
 *
 * An exit is one access or, with string IO, many to the same port. The loop over
 * its elements and the check of their size are here, once for all devices, so
 * that a device sees one register access at a time.
 *
 * The order is what makes a kill harmless at any point: the device's registers
 * in memory, its output, the state file, the reply. What the reply would have
 * been is in the file as well, so that an exit that comes again, since its reply
 * never went, gets that answer and changes nothing. Then the device's line is
 * told, on the reply if it changed with this exit.
 */
#include "config.h"

#include "pc.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "log.h"
#include "sock.h"

#define ANSWER "answer"
#define ANSWER_HEADER 16

static const struct kvmcpu_effect endings[] = {
    [PC_RESET] = {.kind = KVMCPU_EFFECT_STOP_VM,
		  .stop = {.code = 0, .reason = "guest reset", .reset = true}},
    [PC_POWER_OFF] = {.kind = KVMCPU_EFFECT_STOP_VM,
		      .stop = {.code = 0, .reason = "guest powered off"}},
};

void pc_add(struct pc *pc, struct pc_device device)
{
	assert(pc->n_devices < PC_MAX_DEVICES);
	pc->devices[pc->n_devices++] = device;
}

size_t pc_claims(const struct pc *pc, struct kvmcpu_claim *ret)
{
	size_t i, k, n = 0;

	for (i = 0; i < pc->n_devices; i++) {
		const struct pc_device *d = &pc->devices[i];

		for (k = 0; k < 2 && d->ports[k].last != 0; k++)
			ret[n++] = (struct kvmcpu_claim){
			    .space = KVMCPU_SPACE_PIO,
			    .first = d->ports[k].first,
			    .last = d->ports[k].last,
			    .name = d->name,
			    .absence = KVMCPU_ABSENCE_FREEZE,
			};
	}
	return n;
}

/* ---- accesses ---- */

static bool has_port(const struct pc_device *d, uint64_t port)
{
	size_t k;

	for (k = 0; k < 2; k++)
		if (port >= d->ports[k].first && port <= d->ports[k].last)
			return true;
	return false;
}

static struct pc_device *find(struct pc *pc, const struct kvmcpu_exit *x)
{
	size_t i;

	for (i = 0; i < pc->n_devices && x->kind == KVMCPU_EXIT_PIO; i++) {
		struct pc_device *d = &pc->devices[i];

		if (has_port(d, x->address))
			return d->side_by_side || (d->sizes & (1u << x->size)) ? d : NULL;
	}
	return NULL;
}

static uint32_t read_bytes(struct pc_device *d, uint64_t port, uint32_t size)
{
	uint32_t i, byte, value = 0;

	for (i = 0; i < size; i++) {
		byte = has_port(d, port + i) ? d->read(d->state, (uint16_t)(port + i)) : 0xff;
		value |= (byte & 0xff) << (8 * i);
	}
	return value;
}

static enum pc_outcome write_bytes(struct pc_device *d, uint64_t port, uint32_t size,
				   uint32_t value)
{
	enum pc_outcome outcome = PC_GO_ON;
	uint32_t i;

	for (i = 0; i < size && outcome == PC_GO_ON; i++)
		if (has_port(d, port + i))
			outcome = d->write(d->state, (uint16_t)(port + i), value >> (8 * i) & 0xff);
	return outcome;
}

static void read_all(struct pc_device *d, const struct kvmcpu_exit *x, uint8_t *data)
{
	uint32_t i, value;

	for (i = 0; i < x->count; i++) {
		value = d->sizes & (1u << x->size) ? d->read(d->state, (uint16_t)x->address)
						   : read_bytes(d, x->address, x->size);
		/* Both sides are little-endian. */
		memcpy(data + (size_t)i * x->size, &value, x->size);
	}
}

static enum pc_outcome write_all(struct pc_device *d, const struct kvmcpu_exit *x)
{
	enum pc_outcome outcome = PC_GO_ON;
	uint32_t i, value;

	for (i = 0; i < x->count && outcome == PC_GO_ON; i++) {
		value = 0;
		memcpy(&value, x->data + (size_t)i * x->size, x->size);
		outcome = d->sizes & (1u << x->size)
			      ? d->write(d->state, (uint16_t)x->address, value)
			      : write_bytes(d, x->address, x->size, value);
	}
	return outcome;
}

/* ---- the state ---- */

static void save_device(struct state *state, const struct pc_device *d)
{
	const struct pc_section *n = d->sections;

	for (; n < d->sections + PC_MAX_SECTIONS && n->name != NULL; n++)
		n->save(d->state, state_put(state, n->name, n->size));
}

static void save_devices(struct pc *pc)
{
	size_t i;

	for (i = 0; i < pc->n_devices; i++)
		save_device(pc->state, &pc->devices[i]);
}

static void save(struct pc *pc, const struct kvmcpu_exit *x, const struct kvmcpu_reply *reply)
{
	uint8_t *at;

	if (pc->state->file == NULL)
		return;
	state_begin(pc->state);
	at = state_put(pc->state, ANSWER, ANSWER_HEADER + reply->data_size);
	state_put_le(at, x->vcpu, 4);
	state_put_le(at + 4, 0, 4);
	state_put_le(at + 8, x->seq, 8);
	if (reply->data_size > 0)
		memcpy(at + ANSWER_HEADER, reply->data, reply->data_size);
	save_devices(pc);
	state_commit(pc->state);
}

void pc_save(struct pc *pc)
{
	const uint8_t *answer;
	size_t size;

	pc->unsaved = false;
	if (pc->state->file == NULL)
		return;
	answer = state_find(pc->state, ANSWER, SIZE_MAX, &size);
	state_begin(pc->state);
	if (answer != NULL)
		memcpy(state_put(pc->state, ANSWER, size), answer, size);
	save_devices(pc);
	state_commit(pc->state);
}

static void load_device(const struct state *state, struct pc_device *d)
{
	const struct pc_section *n = d->sections;
	const uint8_t *saved;

	for (; n < d->sections + PC_MAX_SECTIONS && n->name != NULL; n++) {
		saved = state_find(state, n->name, n->size, NULL);
		if (saved != NULL)
			n->load(d->state, saved);
	}
}

void pc_load(struct pc *pc)
{
	size_t i;

	for (i = 0; i < pc->n_devices; i++)
		load_device(pc->state, &pc->devices[i]);
}

/* The answer that this exit got before, if it comes again. */
static bool answer_again(const struct pc *pc, const struct kvmcpu_exit *x, uint8_t *data,
			 struct kvmcpu_reply *reply)
{
	const uint8_t *at;
	size_t size;

	if (!x->redelivered || pc->state->file == NULL)
		return false;
	at = state_find(pc->state, ANSWER, SIZE_MAX, &size);
	if (at == NULL || size != ANSWER_HEADER + reply->data_size ||
	    state_get_le(at, 4) != x->vcpu || state_get_le(at + 8, 8) != x->seq)
		return false;
	if (reply->data_size > 0)
		memcpy(data, at + ANSWER_HEADER, reply->data_size);
	if (state_get_le(at + 4, 4) != 0)
		reply->status = KVMCPU_REPLY_BUS_ERROR;
	return true;
}

/* ---- lines ---- */

static struct kvmcpu_effect line_effect(const struct pc_device *d)
{
	return (struct kvmcpu_effect){
	    .kind = KVMCPU_EFFECT_SET_IRQ_LINE,
	    .irq_line = {.gsi = d->gsi, .level = d->level, .decided_ns = sock_now_ns()},
	};
}

/* Whether the daemon is to be told. */
static bool line_changed(const struct pc *pc, struct pc_device *d)
{
	bool level;

	if (!pc->has_lines || d->line == NULL)
		return false;
	level = d->line(d->state);
	if (level == d->level)
		return false;
	d->level = level;
	return true;
}

static int tell_line(struct pc_device *d, struct kvmcpu_control *control)
{
	struct kvmcpu_effect effect = line_effect(d);
	int r = control != NULL ? kvmcpu_control_effect(control, &effect) : -ENOTCONN;

	/* Not told: the next reply will find it changed. */
	if (r < 0)
		d->level = !d->level;
	return r;
}

int pc_tell_lines(struct pc *pc, struct kvmcpu_control *control, bool anew)
{
	size_t i;
	int r, first = 0;

	for (i = 0; i < pc->n_devices; i++) {
		struct pc_device *d = &pc->devices[i];
		bool changed = line_changed(pc, d);

		if (!changed && !(anew && pc->has_lines && d->line != NULL))
			continue;
		r = tell_line(d, control);
		if (first == 0)
			first = r;
	}
	return first;
}

/* ---- one exit ---- */

static void add_effect(struct pc *pc, struct kvmcpu_reply *reply, struct kvmcpu_effect effect)
{
	pc->effects[reply->n_effects++] = effect;
	reply->effects = pc->effects;
}

static int serve(struct pc *pc, struct pc_device *d, const struct kvmcpu_exit *x, uint8_t *data,
		 struct kvmcpu_reply *reply)
{
	enum pc_outcome outcome = PC_GO_ON;
	int r;

	if (x->direction == KVMCPU_READ)
		read_all(d, x, data);
	else
		outcome = write_all(d, x);
	r = d->finish != NULL ? d->finish(d->state) : 0;
	if (r < 0) {
		pc->error = r;
		return r;
	}
	/* An end is done twice rather than never. */
	if (outcome == PC_GO_ON)
		save(pc, x, reply);
	if (line_changed(pc, d))
		add_effect(pc, reply, line_effect(d));
	if (outcome != PC_GO_ON) {
		log_info("%s: %s", d->name, endings[outcome].stop.reason);
		add_effect(pc, reply, endings[outcome]);
	}
	return 0;
}

int pc_serve(void *arg, const struct kvmcpu_exit *exit, uint8_t *data, struct kvmcpu_reply *reply)
{
	struct pc *pc = arg;
	struct pc_device *d = find(pc, exit);

	pc->served++;
	if (d == NULL) {
		log_debug("no register: port %#llx, %u bytes, %s",
			  (unsigned long long)exit->address, exit->size,
			  exit->direction == KVMCPU_READ ? "reads as ones" : "write dropped");
		return 0;
	}
	if (answer_again(pc, exit, data, reply))
		return 0;
	return serve(pc, d, exit, data, reply);
}
