/* SPDX-License-Identifier: MIT
 *
 * The arena. A fixed one hands out the caller's block and nothing else. A
 * growing one adds chunks, each as large as all before it together, so that a
 * large message costs few mallocs; what is left of a chunk is given up when the
 * next one is taken. The limit counts whole chunks, so a frame that unpacks
 * into far more memory than it has bytes ends in NULL, not in swap.
 */
#include "config.h"

#include "codec.h"

#include <stdlib.h>

#define ALIGNMENT 16	      /* max_align_t on every 64-bit ABI in use */
#define FIRST_CHUNK 4096      /* picked, not tuned */
#define MAX_CHUNK (256 << 10) /* picked, not tuned; larger only for one large block */

struct codec_chunk {
	struct codec_chunk *next;
	size_t padding; /* keeps what follows aligned */
};

_Static_assert(sizeof(struct codec_chunk) % ALIGNMENT == 0, "chunks begin with aligned memory");

void codec_arena_fixed(struct codec_arena *a, void *block, size_t size)
{
	*a = (struct codec_arena){.base = block, .size = size};
}

void codec_arena_growing(struct codec_arena *a, size_t limit)
{
	*a = (struct codec_arena){.limit = limit};
}

static void *take(struct codec_arena *a, size_t size)
{
	size_t gap = -(uintptr_t)(a->base + a->used) & (ALIGNMENT - 1);
	size_t left = a->size - a->used;
	void *p;

	if (!a->base || left < gap || left - gap < size)
		return NULL;
	p = a->base + a->used + gap;
	a->used += gap + size;
	return p;
}

static int grow(struct codec_arena *a, size_t size)
{
	size_t room = a->limit - a->taken;
	size_t want = a->taken ? a->taken : FIRST_CHUNK;
	struct codec_chunk *c;

	if (want > MAX_CHUNK)
		want = MAX_CHUNK;
	if (size > SIZE_MAX - sizeof(*c) || size + sizeof(*c) > room)
		return -1;
	if (want < size + sizeof(*c))
		want = size + sizeof(*c);
	if (want > room)
		want = room;
	c = malloc(want);
	if (!c)
		return -1;
	c->next = a->chunks;
	a->chunks = c;
	a->taken += want;
	a->base = (uint8_t *)(c + 1);
	a->size = want - sizeof(*c);
	a->used = 0;
	return 0;
}

void *codec_arena_alloc(struct codec_arena *a, size_t size)
{
	void *p = take(a, size);

	if (!p && a->limit && grow(a, size) == 0)
		p = take(a, size);
	return p;
}

void codec_arena_reset(struct codec_arena *a)
{
	struct codec_chunk *c;

	a->used = 0;
	if (!a->limit)
		return;
	while ((c = a->chunks)) {
		a->chunks = c->next;
		free(c);
	}
	a->base = NULL;
	a->size = 0;
	a->taken = 0;
}

void codec_arena_free(struct codec_arena *a)
{
	codec_arena_reset(a);
}
