/* SPDX-License-Identifier: MIT
 *
 * Why the daemon cannot start: one sentence for a person, and the status to
 * exit with. Only main prints it.
 */
#ifndef KVMCPUD_FAULT_H
#define KVMCPUD_FAULT_H

#include <stdarg.h>
#include <stdio.h>

#include "status.h"

struct fault {
	enum exit_status status;
	char text[512];
};

/* Fills f and returns -1, so that a caller can return it. */
__attribute__((format(printf, 3, 4))) static inline int fault_set(struct fault *f,
								  enum exit_status status,
								  const char *format, ...)
{
	va_list args;

	f->status = status;
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
	return -1;
}

#endif
