/* SPDX-License-Identifier: MIT
 *
 * How a command ends: what a library's errno becomes for a person, for a script
 * and as JSON; and the values that arguments and options take.
 */
#include "config.h"

#include "ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "json.h"

int ctl_error(int status, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("kvmcpuctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

int ctl_status_of(int r)
{
	switch (r) {
	case -ENOENT:
	case -ECONNREFUSED:
		return CTL_NO_DAEMON;
	case -EACCES:
	case -EPERM:
		return CTL_PERMISSION;
	case -EINVAL:
	case -ERANGE:
	case -EOPNOTSUPP:
	case -EIO:
	case -EADDRINUSE:
	case -EUSERS:
		return CTL_REFUSED;
	case -EBUSY:
	case -ETIMEDOUT:
		return CTL_TIMEOUT;
	case -EPROTO:
	case -EPROTONOSUPPORT:
		return CTL_PROTOCOL;
	case -ENOMEM:
		return CTL_INTERNAL;
	default:
		return CTL_IO;
	}
}

int ctl_failed(const struct ctl *ctl, int r)
{
	size_t size;

	if (ctl->json && kvmcpu_control_response(ctl->control, &size) != NULL)
		ctl_json(ctl);
	return ctl_error(ctl_status_of(r), "%s", kvmcpu_control_error(ctl->control));
}

int ctl_json(const struct ctl *ctl)
{
	struct codec_error why;
	struct json_object *object;
	size_t size = 0;
	const void *raw = kvmcpu_control_response(ctl->control, &size);

	object = json_from_message(JSON_RESPONSE, raw, size, &why);
	if (object == NULL)
		return ctl_error(CTL_PROTOCOL, "the answer cannot be shown as JSON: %s", why.text);
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
	return CTL_OK;
}

/* ---- values ---- */

static int take_number(const char *what, const char *text, uint64_t max, const char *suffixes,
		       uint64_t *ret)
{
	const char *suffix;
	uint64_t n;
	char *end;
	int shift = 0;

	errno = 0;
	n = strtoull(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
	if (end != text && *end != '\0' && (suffix = strchr(suffixes, *end)) != NULL) {
		shift = 10 * (int)(suffix - suffixes + 1);
		end++;
	}
	if (text[0] < '0' || text[0] > '9' || end == text || *end != '\0')
		return ctl_error(CTL_USAGE, "%s '%s' is no number: give it in decimal or with 0x%s",
				 what, text, suffixes[0] ? ", a size may end in K, M or G" : "");
	if (errno == ERANGE || n > max >> shift)
		return ctl_error(CTL_USAGE, "%s '%s' is too large: at most %llu", what, text,
				 (unsigned long long)max);
	*ret = n << shift;
	return 0;
}

int parse_number(const char *what, const char *text, uint64_t max, uint64_t *ret)
{
	return take_number(what, text, max, "", ret);
}

int parse_size(const char *what, const char *text, uint64_t max, uint64_t *ret)
{
	return take_number(what, text, max, "KMG", ret);
}

static bool take_vcpu(const char **text, unsigned *ret)
{
	char *end;
	unsigned long n;

	if (**text < '0' || **text > '9')
		return false;
	n = strtoul(*text, &end, 10);
	*text = end;
	*ret = (unsigned)n;
	return n < KVMCPU_MAX_VCPUS;
}

int parse_vcpus(const char *text, uint64_t *ret)
{
	const char *at = text;
	unsigned first, last;
	uint64_t mask = 0;

	do {
		if (!take_vcpu(&at, &first))
			goto refused;
		last = first;
		if (*at == '-' && (at++, !take_vcpu(&at, &last) || last < first))
			goto refused;
		for (; first <= last; first++)
			mask |= 1ull << first;
	} while (*at++ == ',');
	if (at[-1] != '\0')
		goto refused;
	*ret |= mask;
	return 0;
refused:
	return ctl_error(CTL_USAGE, "--vcpu '%s' is no list of vCPUs: give 0 to %d, as in 0,2,5-7",
			 text, KVMCPU_MAX_VCPUS - 1);
}
