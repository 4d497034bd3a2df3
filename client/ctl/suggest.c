/* SPDX-License-Identifier: MIT
 *
 * Names near to a mistyped word: those that begin with it, and those a few
 * slips of the finger away, by the distance of optimal string alignment
 * (insert, delete, replace, swap neighbours).
 */
#include "config.h"

#include "ctl.h"

#include <stdio.h>
#include <string.h>

#define LONGEST 31 /* words beyond are near to nothing; picked, not tuned */
#define NEAR 2	   /* slips; picked, not tuned */
#define SUGGESTIONS 3

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;

	return ab < c ? ab : c;
}

static unsigned distance(const char *a, const char *b)
{
	unsigned d[LONGEST + 1][LONGEST + 1];
	size_t n = strlen(a), m = strlen(b), i, k;

	if (n > LONGEST || m > LONGEST)
		return NEAR + 1;
	for (i = 0; i <= n; i++)
		d[i][0] = (unsigned)i;
	for (k = 0; k <= m; k++)
		d[0][k] = (unsigned)k;
	for (i = 1; i <= n; i++)
		for (k = 1; k <= m; k++) {
			d[i][k] = least(d[i - 1][k] + 1, d[i][k - 1] + 1,
					d[i - 1][k - 1] + (a[i - 1] != b[k - 1]));
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
				d[i][k] = least(d[i][k], d[i - 2][k - 2] + 1, d[i][k]);
		}
	return d[n][m];
}

static bool is_near(const char *word, const char *name)
{
	size_t n = strlen(word);

	return (n > 0 && strncmp(word, name, n) == 0) || (n > NEAR && distance(word, name) <= NEAR);
}

void ctl_suggest(const char *word, const char *const *names, size_t n, char *buf, size_t size)
{
	size_t i, used = 0, found = 0;

	buf[0] = '\0';
	for (i = 0; i < n && found < SUGGESTIONS && used < size; i++) {
		if (!is_near(word, names[i]))
			continue;
		used += (size_t)snprintf(buf + used, size - used, "%s'%s'",
					 found++ == 0 ? ", did you mean " : " or ", names[i]);
	}
}
