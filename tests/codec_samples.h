/* SPDX-License-Identifier: MIT
 *
 * One packed message of every kind with every field set, and each field to a
 * value of its own, so that a field lost or mixed up with another shows.
 */
#ifndef KVMCPU_TESTS_CODEC_SAMPLES_H
#define KVMCPU_TESTS_CODEC_SAMPLES_H

#include "codec.h"

#define SAMPLE_MAX 4096 /* bytes; all samples are smaller */

enum sample_type {
	SAMPLE_EXIT,
	SAMPLE_REPLY,
	SAMPLE_HELLO,
	SAMPLE_HELLO_REPLY,
	SAMPLE_FILTER,
	SAMPLE_REQUEST,
	SAMPLE_RESPONSE,
	SAMPLE_BATCH,
};

struct sample {
	enum sample_type type;
	size_t size;
	uint8_t bytes[SAMPLE_MAX];
};

/* Fills *ret with sample number i. False behind the last one. */
bool sample_get(size_t i, struct sample *ret);

/* Unpacks bytes of that type and, where that works and repacked is not NULL,
 * packs what came out again into SAMPLE_MAX bytes at repacked. Returns the size
 * of that (0 without it) or the unpacker's or packer's error. */
int sample_repack(enum sample_type type, const uint8_t *bytes, size_t size, struct codec_arena *a,
		  uint8_t *repacked, struct codec_error *err);

/* An exit of that kind with all its fields set; data in static memory. */
struct kvmcpu_exit sample_exit(enum kvmcpu_exit_kind kind, enum kvmcpu_direction direction);

#endif
