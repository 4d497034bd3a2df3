/* SPDX-License-Identifier: MIT
 *
 * The daemon's log: one line per fact, on standard error, which systemd or the
 * terminal takes from there. Any thread; a line is one write.
 */
#ifndef KVMCPU_LOG_H
#define KVMCPU_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Set once, before the second thread. name stands in every line and must live
 * on; NULL leaves it out. */
void log_setup(const char *program, const char *name, enum log_level level);
/* "error", "warn", "info" or "debug". */
bool log_level_by_name(const char *name, enum log_level *ret);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
