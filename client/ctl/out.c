/* SPDX-License-Identifier: MIT
 *
 * A table keeps its cells until it is printed, since a column is as wide as its
 * widest cell.
 */
#include "config.h"

#include "out.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static void out_of_memory(void)
{
	fputs("kvmcpuctl: no memory for the output\n", stderr);
	exit(EX_SOFTWARE);
}

static void add(struct table *t, const char *text, size_t n)
{
	char **cells = realloc(t->cells, (t->n + 1) * sizeof(*cells));
	char *cell = strndup(n > 0 ? text : "-", n > 0 ? n : 1);
	size_t i;

	if (cells == NULL || cell == NULL)
		out_of_memory();
	for (i = 0; cell[i] != '\0'; i++)
		if (!isprint((unsigned char)cell[i]))
			cell[i] = '?';
	t->cells = cells;
	t->cells[t->n++] = cell;
}

void table_cell(struct table *t, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	add(t, text, strlen(text));
}

void table_header(struct table *t, const char *names)
{
	size_t n;

	for (; *names != '\0'; names += n + (names[n] == '|')) {
		n = strcspn(names, "|");
		add(t, names, n);
		t->columns++;
	}
	assert(t->columns <= TABLE_COLUMNS);
}

static void print_row(const struct table *t, char *const *row, const int *widths)
{
	size_t k;

	for (k = 0; k < t->columns; k++) {
		const char *gap = k > 0 ? "  " : "";

		if (t->right & (1u << k))
			printf("%s%*s", gap, widths[k], row[k]);
		else if (k + 1 == t->columns)
			printf("%s%s", gap, row[k]);
		else
			printf("%s%-*s", gap, widths[k], row[k]);
	}
	putchar('\n');
}

void table_print(struct table *t)
{
	int widths[TABLE_COLUMNS] = {0};
	size_t i;

	assert(t->columns > 0 && t->n % t->columns == 0);
	for (i = 0; i < t->n; i++)
		if ((int)strlen(t->cells[i]) > widths[i % t->columns])
			widths[i % t->columns] = (int)strlen(t->cells[i]);
	for (i = 0; i < t->n; i += t->columns)
		print_row(t, t->cells + i, widths);
	for (i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	*t = (struct table){0};
}

const char *out_time(char *buf, uint64_t ns)
{
	if (ns < 1000)
		snprintf(buf, OUT_TIME, "%u ns", (unsigned)ns);
	else if (ns < 1000000)
		snprintf(buf, OUT_TIME, "%.1f us", (double)ns / 1e3);
	else if (ns < 1000000000)
		snprintf(buf, OUT_TIME, "%.2f ms", (double)ns / 1e6);
	else
		snprintf(buf, OUT_TIME, "%.2f s", (double)ns / 1e9);
	return buf;
}

const char *out_size(char *buf, uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	size_t unit = 0;

	while (unit < 4 && bytes > 0 && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, OUT_TIME, "%llu %s", (unsigned long long)bytes, units[unit]);
	return buf;
}

const char *out_range(char *buf, uint64_t first, uint64_t last)
{
	if (first == last)
		snprintf(buf, OUT_RANGE, "%#llx", (unsigned long long)first);
	else
		snprintf(buf, OUT_RANGE, "%#llx-%#llx", (unsigned long long)first,
			 (unsigned long long)last);
	return buf;
}

void out_hexdump(uint64_t address, const uint8_t *data, size_t size)
{
	size_t i, k, n;

	for (i = 0; i < size; i += 16) {
		n = size - i < 16 ? size - i : 16;
		printf("%016llx ", (unsigned long long)(address + i));
		for (k = 0; k < 16; k++) {
			if (k < n)
				printf("%s%02x", k == 8 ? "  " : " ", data[i + k]);
			else
				printf("%s  ", k == 8 ? "  " : " ");
		}
		fputs("  |", stdout);
		for (k = 0; k < n; k++)
			putchar(isprint(data[i + k]) ? data[i + k] : '.');
		puts("|");
	}
}
