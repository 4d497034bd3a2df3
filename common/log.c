/* SPDX-License-Identifier: MIT
 *
 * A line is put together in a local buffer and written at once, so that lines
 * of several threads never mix. Control characters are replaced: names and
 * reasons that clients choose go through here.
 *
 * Where standard error is the journal, lines begin with the priority in angle
 * brackets, as sd-daemon(3) describes.
 */
#include "config.h"

#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {"error", "warn", "info", "debug"};
static const char priorities[] = {'3', '4', '6', '7'}; /* syslog(3) */

/* Set before threads, constant afterwards. */
static const char *log_program = "kvmcpud";
static const char *log_name;
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_journal;

void log_setup(const char *program, const char *name, enum log_level level)
{
	log_program = program;
	log_name = name;
	log_max = level;
	log_journal = getenv("JOURNAL_STREAM") != NULL && !isatty(STDERR_FILENO);
}

bool log_level_by_name(const char *name, enum log_level *ret)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static size_t put(char *line, size_t size, size_t used, const char *format, va_list args)
{
	int n = vsnprintf(line + used, size - used, format, args);

	if (n < 0)
		return used;
	return (size_t)n < size - used ? used + (size_t)n : size - 1;
}

static size_t put_head(char *line, size_t size, enum log_level level)
{
	int n = snprintf(line, size, "%s%.*s%s%s%s%s: %s: ", log_journal ? "<" : "", log_journal,
			 &priorities[level], log_journal ? ">" : "", log_program,
			 log_name ? " " : "", log_name ? log_name : "", names[level]);

	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[2048];
	size_t used;
	va_list args;

	if (level > log_max)
		return;
	used = put_head(line, sizeof(line) - 1, level);
	va_start(args, format);
	used = put(line, sizeof(line) - 1, used, format, args);
	va_end(args);
	for (size_t i = 0; i < used; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, used) < 0)
		return; /* nobody left to tell */
}
