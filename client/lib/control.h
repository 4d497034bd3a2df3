/* SPDX-License-Identifier: MIT
 *
 * What the files of the control connection share. Internal to libkvmcpu.
 */
#ifndef KVMCPU_CONTROL_H
#define KVMCPU_CONTROL_H

#include "conn.h"

struct kvmcpu_control {
	struct conn conn;
	struct codec_arena arena;
	struct kvmcpu_response response; /* in arena */
	const uint8_t *raw;		 /* in conn.in */
	size_t raw_size;
	uint64_t last_id;
	bool broken; /* a failure on the way: requests and answers may no longer match */
};

/* One request and its answer, which must hold the wanted result; it is in
 * c->response afterwards. Waits, extra_ns longer than usual. 0 or the errors of
 * all control calls. */
int control_call(struct kvmcpu_control *c, struct kvmcpu_request *q, enum kvmcpu_result wanted,
		 uint64_t extra_ns);

#endif
