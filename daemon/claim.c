/* SPDX-License-Identifier: MIT
 *
 * A table lists every claim once, and for each vCPU the claims that serve it as
 * an array of ranges; vCPUs whose claims are the same share one array. To find
 * a claim is a binary search over it: some 14 steps for 10,000 claims.
 *
 * A V announces the table it reads in its hold and then looks whether the table
 * is still the current one; L publishes a new table and then looks at the
 * holds. Both use sequentially consistent accesses, so L never frees what a V
 * has just begun to read.
 */
#include "config.h"

#include "claim.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"

#define MAX_CLAIMS 65536 /* of all clients together; picked, not tuned */
#define N_SPACES (KVMCPU_SPACE_HALT + 1)

struct claim_entry {
	uint64_t first, last;
	const struct claim *claim;
};

struct claim_view {
	struct claim_entry *entries;  /* owned by the first vCPU with this view */
	uint32_t start[N_SPACES + 1]; /* of each space in entries */
};

struct claim_table {
	struct claim_table *next; /* retired */
	size_t n_claims;
	struct claim **claims; /* owned array; a reference to each; by id */
	struct claim_view views[KVMCPU_MAX_VCPUS];
};

/* ---- lookup: V ---- */

static const struct claim_view *hold_view(struct claims *c, struct claim_hold *hold, uint32_t vcpu)
{
	struct claim_table *t = atomic_load(&c->current);

	for (;;) {
		atomic_store(&hold->table, t);
		struct claim_table *now = atomic_load(&c->current);
		if (now == t)
			break;
		t = now;
	}
	return &t->views[vcpu];
}

bool claims_any(struct claims *c, struct claim_hold *hold, uint32_t vcpu, enum kvmcpu_space space)
{
	const struct claim_view *view = hold_view(c, hold, vcpu);

	return view->start[space] != view->start[space + 1];
}

const struct claim *claims_find(struct claims *c, struct claim_hold *hold, uint32_t vcpu,
				enum kvmcpu_space space, uint64_t address)
{
	const struct claim_view *view = hold_view(c, hold, vcpu);
	uint32_t low = view->start[space], high = view->start[space + 1];
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct claim_entry *e = &view->entries[middle];
		if (address < e->first)
			high = middle;
		else if (address > e->last)
			low = middle + 1;
		else
			return e->claim;
	}
	return NULL;
}

void claims_release(struct claim_hold *hold)
{
	atomic_store_explicit(&hold->table, NULL, memory_order_release);
}

bool claim_is_absent(const struct claim *claim)
{
	return claim->channel == NULL || atomic_load(&claim->channel->dead);
}

/* ---- claims and tables: L from here on ---- */

static void figures_unref(struct claim_figures *f)
{
	if (--f->refs == 0)
		free(f);
}

static void claim_unref(struct claim *claim)
{
	if (--claim->refs > 0)
		return;
	if (claim->channel != NULL)
		channel_unref(claim->channel);
	figures_unref(claim->figures);
	free(claim);
}

/* A copy with no table's reference yet; figures NULL makes new ones. */
static struct claim *claim_copy(const struct claim *from, struct channel *ch,
				struct claim_figures *figures)
{
	struct claim *claim = malloc(sizeof(*claim));

	if (claim == NULL)
		return NULL;
	*claim = *from;
	claim->refs = 0;
	claim->channel = ch;
	claim->figures = figures != NULL ? figures : calloc(1, sizeof(*figures));
	if (claim->figures == NULL) {
		free(claim);
		return NULL;
	}
	claim->figures->refs++;
	if (ch != NULL)
		channel_ref(ch);
	return claim;
}

static bool overlap(const struct claim *a, const struct claim *b)
{
	return a->space == b->space && a->first <= b->last && b->first <= a->last;
}

static int by_range(const void *a, const void *b)
{
	const struct claim *x = *(struct claim *const *)a, *y = *(struct claim *const *)b;

	if (x->space != y->space)
		return x->space < y->space ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

static int by_id(const void *a, const void *b)
{
	const struct claim *x = *(struct claim *const *)a, *y = *(struct claim *const *)b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

static int view_build(struct claim_view *view, struct claim **sorted, size_t n, uint32_t vcpu)
{
	size_t used = 0;

	view->entries = calloc(n + 1, sizeof(*view->entries));
	if (view->entries == NULL)
		return -ENOMEM;
	for (unsigned space = 0; space < N_SPACES; space++) {
		view->start[space] = (uint32_t)used;
		for (size_t i = 0; i < n; i++) {
			if (sorted[i]->space != space || !(sorted[i]->vcpu_mask >> vcpu & 1))
				continue;
			view->entries[used++] =
			    (struct claim_entry){sorted[i]->first, sorted[i]->last, sorted[i]};
		}
	}
	view->start[N_SPACES] = (uint32_t)used;
	return 0;
}

/* Whether the same claims serve vCPU and the one before it. */
static bool same_view(struct claim **claims, size_t n, uint32_t vcpu)
{
	for (size_t i = 0; i < n; i++)
		if (((claims[i]->vcpu_mask >> vcpu) ^ (claims[i]->vcpu_mask >> (vcpu - 1))) & 1)
			return false;
	return true;
}

static void table_free(struct claim_table *t, uint32_t n_vcpus)
{
	for (uint32_t i = 0; i < n_vcpus; i++)
		if (i == 0 || t->views[i].entries != t->views[i - 1].entries)
			free(t->views[i].entries);
	for (size_t i = 0; i < t->n_claims; i++)
		claim_unref(t->claims[i]);
	free(t->claims);
	free(t);
}

/* A table of these claims; takes the array over, and a reference to each. */
static struct claim_table *table_new(struct claim **claims, size_t n, uint32_t n_vcpus)
{
	struct claim_table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	qsort(claims, n, sizeof(*claims), by_range);
	for (uint32_t i = 0; i < n_vcpus; i++) {
		if (i > 0 && same_view(claims, n, i)) {
			t->views[i] = t->views[i - 1];
		} else if (view_build(&t->views[i], claims, n, i) < 0) {
			table_free(t, i);
			return NULL;
		}
	}
	qsort(claims, n, sizeof(*claims), by_id);
	for (size_t i = 0; i < n; i++)
		claims[i]->refs++;
	t->claims = claims;
	t->n_claims = n;
	return t;
}

static struct claim_table *current(const struct claims *c)
{
	return atomic_load_explicit(&c->current, memory_order_relaxed);
}

static void publish(struct claims *c, struct claim_table *t)
{
	struct claim_table *old = current(c);

	atomic_store(&c->current, t);
	if (old != NULL) {
		old->next = c->retired;
		c->retired = old;
	}
	claims_collect(c);
}

void claims_collect(struct claims *c)
{
	struct claim_table **link = &c->retired;

	while (*link != NULL) {
		struct claim_table *t = *link;
		bool held = false;
		for (uint32_t i = 0; i < c->n_vcpus && !held; i++)
			held = c->holds[i] != NULL && atomic_load(&c->holds[i]->table) == t;
		if (held) {
			link = &t->next;
			continue;
		}
		*link = t->next;
		table_free(t, c->n_vcpus);
	}
}

int claims_init(struct claims *c, uint32_t n_vcpus)
{
	struct claim **none = calloc(1, sizeof(*none));

	*c = (struct claims){.next_id = 1, .n_vcpus = n_vcpus};
	struct claim_table *t = none != NULL ? table_new(none, 0, n_vcpus) : NULL;
	if (t == NULL) {
		free(none);
		return -ENOMEM;
	}
	publish(c, t);
	return 0;
}

void claims_destroy(struct claims *c)
{
	struct claim_table *t = current(c);

	if (t == NULL)
		return;
	for (uint32_t i = 0; i < c->n_vcpus; i++)
		c->holds[i] = NULL;
	atomic_store(&c->current, NULL);
	table_free(t, c->n_vcpus);
	claims_collect(c);
}

/* A list of claims under construction. */
struct list {
	struct claim **items;
	size_t n, room;
};

static int list_add(struct list *l, struct claim *claim)
{
	if (claim == NULL)
		return -ENOMEM;
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 16;
		struct claim **items = realloc(l->items, room * sizeof(*items));
		if (items == NULL)
			return -ENOMEM;
		l->items = items;
		l->room = room;
	}
	l->items[l->n++] = claim;
	return 0;
}

/* Drops what no table refers to yet. */
static void list_drop(struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->items[i]->refs == 0) {
			l->items[i]->refs = 1;
			claim_unref(l->items[i]);
		}
	}
	free(l->items);
}

/* The list as a table; NULL, and the list dropped, if there is no memory. */
static struct claim_table *list_to_table(struct claims *c, struct list *l)
{
	struct claim_table *t = table_new(l->items, l->n, c->n_vcpus);

	if (t == NULL)
		list_drop(l);
	return t;
}

/* The first of the sorted claims, none overlapping another, that overlaps e. */
static size_t first_overlap(struct claim **sorted, size_t n, const struct claim *e)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct claim *m = sorted[middle];
		if (m->space < e->space || (m->space == e->space && m->last < e->first))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int add_piece(struct list *l, const struct claim *e, uint64_t first, uint64_t last,
		     uint64_t mask)
{
	struct claim *piece = claim_copy(e, NULL, NULL);

	if (piece != NULL) {
		piece->first = first;
		piece->last = last;
		piece->vcpu_mask = mask;
	}
	return list_add(l, piece);
}

/* What is left of absent claim e when the n new ones, serving mask, are taken
 * out of it. A new claim of the very same range goes on with its figures. */
static int cut(struct list *l, const struct claim *e, struct claim **fresh, size_t n, uint64_t mask)
{
	uint64_t next = e->first, both = e->vcpu_mask & mask, rest = e->vcpu_mask & ~mask;
	int r = rest != 0 ? add_piece(l, e, e->first, e->last, rest) : 0;

	for (size_t i = first_overlap(fresh, n, e); r == 0 && i < n && overlap(fresh[i], e); i++) {
		if (fresh[i]->first == e->first && fresh[i]->last == e->last) {
			figures_unref(fresh[i]->figures);
			fresh[i]->figures = e->figures;
			e->figures->refs++;
		}
		if (fresh[i]->first > next)
			r = add_piece(l, e, next, fresh[i]->first - 1, both);
		if (fresh[i]->last >= e->last)
			return r;
		next = fresh[i]->last + 1;
	}
	return r == 0 ? add_piece(l, e, next, e->last, both) : r;
}

static int refuse_overlap(const struct claim *wanted, const struct claim *e,
			  struct codec_error *err)
{
	snprintf(
	    err->text, sizeof(err->text),
	    "%s 0x%llx-0x%llx is claimed as \"%s\" by client %u \"%s\"; claim another range or end "
	    "that client",
	    codec_space_name(wanted->space), (unsigned long long)wanted->first,
	    (unsigned long long)wanted->last, e->name, e->client_id, e->client);
	return -EEXIST;
}

/* Keeps, cuts or trips over each claim in force. */
static int merge(struct claims *c, struct list *l, struct claim **fresh, size_t n, uint64_t mask,
		 struct codec_error *err)
{
	const struct claim_table *t = current(c);
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->n_claims; i++) {
		struct claim *e = t->claims[i];
		size_t hit = first_overlap(fresh, n, e);
		if (!(e->vcpu_mask & mask) || hit == n || !overlap(fresh[hit], e))
			r = list_add(l, e);
		else if (!claim_is_absent(e))
			r = refuse_overlap(fresh[hit], e, err);
		else
			r = cut(l, e, fresh, n, mask);
	}
	return r;
}

static struct claim *claim_from(struct claims *c, struct channel *ch, uint64_t mask,
				const struct kvmcpu_claim *w)
{
	struct claim seed = {
	    .id = c->next_id,
	    .space = w->space,
	    .first = w->first,
	    .last = w->last,
	    .absence = w->absence,
	    .fill = w->fill,
	    .vcpu_mask = mask,
	    .client_id = ch->client_id,
	};
	const char *name = w->name != NULL && *w->name != '\0' ? w->name : ch->client;

	snprintf(seed.name, sizeof(seed.name), "%s", name);
	snprintf(seed.client, sizeof(seed.client), "%s", ch->client);
	struct claim *claim = claim_copy(&seed, ch, NULL);
	if (claim != NULL)
		c->next_id++;
	return claim;
}

/* The wanted claims as a list sorted by range; refuses two that overlap. */
static int make_fresh(struct claims *c, struct list *fresh, struct channel *ch, uint64_t mask,
		      const struct kvmcpu_claim *wanted, size_t n, struct codec_error *err)
{
	for (size_t i = 0; i < n; i++)
		if (list_add(fresh, claim_from(c, ch, mask, &wanted[i])) < 0)
			return -ENOMEM;
	qsort(fresh->items, n, sizeof(*fresh->items), by_range);
	for (size_t i = 1; i < n; i++) {
		const struct claim *a = fresh->items[i - 1], *b = fresh->items[i];
		if (!overlap(a, b))
			continue;
		snprintf(err->text, sizeof(err->text),
			 "two of its own claims overlap: %s 0x%llx-0x%llx and 0x%llx-0x%llx",
			 codec_space_name(a->space), (unsigned long long)a->first,
			 (unsigned long long)a->last, (unsigned long long)b->first,
			 (unsigned long long)b->last);
		return -EPROTO;
	}
	return 0;
}

int claims_prepare(struct claims *c, struct channel *ch, uint64_t vcpu_mask,
		   const struct kvmcpu_claim *wanted, size_t n, struct claim_table **ret,
		   struct codec_error *err)
{
	struct list fresh = {0}, all = {0};
	int r = 0;

	r = make_fresh(c, &fresh, ch, vcpu_mask, wanted, n, err);
	if (r == 0)
		r = merge(c, &all, fresh.items, fresh.n, vcpu_mask, err);
	if (r == 0 && all.n + fresh.n > MAX_CLAIMS) {
		snprintf(err->text, sizeof(err->text), "the VM would have more than %d claims",
			 MAX_CLAIMS);
		r = -ENOSPC;
	}
	for (size_t i = 0; r == 0 && i < fresh.n; i++)
		r = list_add(&all, fresh.items[i]);
	if (r < 0) {
		/* What is in both lists must be dropped once. */
		while (all.n > 0 && fresh.n > 0 && all.items[all.n - 1]->channel == ch)
			all.n--;
		list_drop(&all);
		list_drop(&fresh);
		return r;
	}
	free(fresh.items);
	*ret = list_to_table(c, &all);
	return *ret != NULL ? 0 : -ENOMEM;
}

void claims_commit(struct claims *c, struct claim_table *t)
{
	publish(c, t);
}

void claims_abandon(struct claims *c, struct claim_table *t)
{
	table_free(t, c->n_vcpus);
}

int claims_orphan(struct claims *c, const struct channel *ch)
{
	const struct claim_table *t = current(c);
	struct list all = {0};
	bool any = false;

	for (size_t i = 0; i < t->n_claims; i++) {
		struct claim *e = t->claims[i];
		bool gone = e->channel == ch;
		any |= gone;
		if (list_add(&all, gone ? claim_copy(e, NULL, e->figures) : e) < 0) {
			list_drop(&all);
			return -ENOMEM;
		}
	}
	if (!any) {
		free(all.items);
		return 0;
	}
	struct claim_table *orphaned = list_to_table(c, &all);
	if (orphaned == NULL)
		return -ENOMEM;
	publish(c, orphaned);
	return 0;
}

size_t claim_table_count(const struct claim_table *t)
{
	return t->n_claims;
}

const struct claim *claim_table_at(const struct claim_table *t, size_t i)
{
	return t->claims[i];
}

const struct claim_table *claims_current(const struct claims *c)
{
	return current(c);
}

size_t claims_count(const struct claims *c)
{
	return current(c)->n_claims;
}

const struct claim *claims_at(const struct claims *c, size_t i)
{
	return current(c)->claims[i];
}

void claim_describe(const struct claim *claim, struct kvmcpu_claim_info *ret)
{
	*ret = (struct kvmcpu_claim_info){
	    .claim_id = claim->id,
	    .claim = {claim->space, claim->first, claim->last, claim->name, claim->absence,
		      claim->fill},
	    .client = claim->client,
	    .client_id = claim_is_absent(claim) ? 0 : claim->client_id,
	    .vcpu_mask = claim->vcpu_mask,
	};
}
