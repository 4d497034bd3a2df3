/* SPDX-License-Identifier: MIT
 *
 * One table names every option, its short help and the function that takes its
 * value. The command line (getopt_long) and the configuration file (libinih)
 * both go through that table, so they cannot come to differ. The file is read
 * first: a later setting replaces an earlier one, images add up.
 */
#include "config.h"

#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sock.h"
#include "status.h"

#define MIN_MEMORY (1ull << 20)
#define MAX_MEMORY (1ull << 40) /* far beyond any host here; a typing error beyond it */

/* What is wrong with a value, or NULL. */
typedef const char *take_fn(struct options *o, const char *value);

/* A copy that lives as long as the program, as the options do. */
static const char *keep(const char *text, size_t size)
{
	static struct kept {
		struct kept *next;
		char text[];
	} * all;
	struct kept *k = malloc(sizeof(*k) + size + 1);

	if (k == NULL)
		return NULL;
	memcpy(k->text, text, size);
	k->text[size] = '\0';
	k->next = all;
	all = k;
	return k->text;
}

static bool parse_number(const char *text, uint64_t *ret, char **ret_end)
{
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, ret_end, 0);
	return errno == 0;
}

static bool parse_gpa(const char *text, kvmcpu_gpa_t *ret)
{
	char *end;

	return parse_number(text, ret, &end) && *end == '\0';
}

static const char *take_name(struct options *o, const char *value)
{
	char path[256];

	if (sock_path(path, sizeof(path), "/", value, "lock") == -EINVAL)
		return "a name has 1 to 64 letters, digits, '-', '_' or '.', and no '.' first";
	o->name = value;
	return NULL;
}

static const char *take_runtime_dir(struct options *o, const char *value)
{
	o->runtime_dir = value;
	return *value == '/' ? NULL : "give an absolute path";
}

static const char *take_memory(struct options *o, const char *value)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	uint64_t n;

	if (!parse_number(value, &n, &end))
		return "give a size such as 64M or 1G";
	unsigned shift = 0;
	if (*end != '\0') {
		unit = strchr(units, *end);
		if (unit == NULL || end[1] != '\0')
			return "give a size such as 64M or 1G (units K, M, G, T)";
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (n > MAX_MEMORY >> shift || n << shift < MIN_MEMORY)
		return "give 1M to 1T";
	if ((n << shift) % 4096 != 0)
		return "give a multiple of 4096 bytes";
	o->memory_bytes = n << shift;
	return NULL;
}

static const char *take_cpus(struct options *o, const char *value)
{
	uint64_t n;

	if (!parse_gpa(value, &n) || n < 1 || n > KVMCPU_MAX_VCPUS)
		return "give 1 to 64";
	o->cpus = (uint32_t)n;
	return NULL;
}

static const char *take_irqchip(struct options *o, const char *value)
{
	o->has_irqchip = true;
	if (strcmp(value, "none") == 0)
		o->irqchip = KVMCPU_IRQCHIP_NONE;
	else if (strcmp(value, "kernel") == 0)
		o->irqchip = KVMCPU_IRQCHIP_KERNEL;
	else
		return "give none or kernel";
	return NULL;
}

static const char *take_firmware(struct options *o, const char *value)
{
	o->firmware = value;
	return NULL;
}

static const char *take_kernel(struct options *o, const char *value)
{
	o->kernel = value;
	return *value != '\0' ? NULL : "give a file";
}

static const char *take_initrd(struct options *o, const char *value)
{
	o->initrd = value;
	return *value != '\0' ? NULL : "give a file";
}

static const char *take_append(struct options *o, const char *value)
{
	o->append = value;
	return NULL;
}

static const char *take_image(struct options *o, const char *value)
{
	char *at = strrchr(value, '@');
	struct image *image = &o->images[o->n_images];

	if (o->n_images == OPTIONS_MAX_IMAGES)
		return "at most 32 images can be loaded";
	if (at == NULL || at == value || !parse_gpa(at + 1, &image->gpa))
		return "give FILE@ADDRESS, such as kernel.bin@0x100000";
	image->file = keep(value, (size_t)(at - value));
	if (image->file == NULL)
		return "out of memory";
	o->n_images++;
	return NULL;
}

static const char *take_entry(struct options *o, const char *value)
{
	o->has_entry = parse_gpa(value, &o->entry);
	return o->has_entry ? NULL : "give an address such as 0x1000";
}

static const char *take_mode(struct options *o, const char *value)
{
	static const struct {
		const char *name;
		enum boot_mode mode;
	} modes[] = {{"real", BOOT_REAL}, {"protected", BOOT_PROTECTED}, {"long", BOOT_LONG}};

	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(value, modes[i].name) == 0) {
			o->mode = modes[i].mode;
			return NULL;
		}
	}
	return "give real, protected or long";
}

/* A port that the instruction itself holds, and 32 bits from it on: rdx is an
 * argument of the call. */
static const char *take_hypercall(struct options *o, const char *value)
{
	static const struct {
		const char *prefix;
		enum kvmcpu_exit_kind kind;
		uint64_t last;
	} ways[] = {
	    {"pio:", KVMCPU_EXIT_PIO, 0xff},
	    {"mmio:", KVMCPU_EXIT_MMIO, UINT64_MAX - 3},
	    {"msr:", KVMCPU_EXIT_MSR, UINT32_MAX - 1}, /* see x86/msr_filter.c */
	};
	struct hypercall_way way = {0};

	if (strcmp(value, "vmcall") == 0)
		way.kind = KVMCPU_EXIT_HYPERCALL;
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		size_t n = strlen(ways[i].prefix);
		if (strncmp(value, ways[i].prefix, n) != 0)
			continue;
		if (!parse_gpa(value + n, &way.address))
			return "give a number behind the colon, such as pio:0xe4";
		if (way.address > ways[i].last)
			return i == 0 ? "give a port of 0 to 0xff: it must fit into the OUT "
					"instruction, since rdx is an argument"
				      : "that is too large";
		way.kind = ways[i].kind;
	}
	if (way.kind == KVMCPU_EXIT_MMIO && way.address % 4 != 0)
		return "give an address that is a multiple of 4";
	if (way.kind == 0 && strcmp(value, "none") != 0)
		return "give pio:PORT, mmio:ADDRESS, msr:INDEX, vmcall or none";
	o->hypercall = way;
	return NULL;
}

static const char *take_log_level(struct options *o, const char *value)
{
	return log_level_by_name(value, &o->log_level) ? NULL : "give error, warn, info or debug";
}

static const char *take_bool(bool *ret, const char *value)
{
	static const char *const yes[] = {"yes", "true", "on", "1"};
	static const char *const no[] = {"no", "false", "off", "0"};

	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(value, yes[i]) == 0 || strcmp(value, no[i]) == 0) {
			*ret = strcmp(value, yes[i]) == 0;
			return NULL;
		}
	}
	return "give yes or no";
}

static const char *take_paused(struct options *o, const char *value)
{
	return take_bool(&o->paused, value);
}

static const char *take_strict(struct options *o, const char *value)
{
	return take_bool(&o->strict, value);
}

static const char *take_exit_on_failure(struct options *o, const char *value)
{
	return take_bool(&o->exit_on_failure, value);
}

static const char *take_on_reset(struct options *o, const char *value)
{
	if (strcmp(value, "stop") != 0 && strcmp(value, "restart") != 0)
		return "give stop or restart";
	o->restart = *value == 'r';
	return NULL;
}

static const char *take_clock(struct options *o, const char *value)
{
	for (int source = CLOCK_SOURCE_NONE; source <= CLOCK_SOURCE_TSC; source++) {
		if (strcmp(value, clock_source_name(source)) == 0) {
			o->clock = source;
			return NULL;
		}
	}
	return "give monotonic, tsc or none";
}

static const char *take_host_factor(struct options *o, const char *value)
{
	uint64_t num, den = 1;
	char *end;
	bool ok = parse_number(value, &num, &end);

	if (ok && *end == '/')
		ok = parse_number(end + 1, &den, &end);
	if (!ok || *end != '\0' || num < 1 || num > CLOCK_FACTOR_MAX || den < 1 ||
	    den > CLOCK_FACTOR_MAX)
		return "give N or N/D, both 1 to 1000000, such as 5/2";
	o->factor_num = (uint32_t)num;
	o->factor_den = (uint32_t)den;
	return NULL;
}

static const char *take_quantum(struct options *o, const char *value)
{
	static const struct {
		const char *name;
		uint64_t ticks; /* picoseconds */
	} units[] = {{"", 1},	      {"ps", 1},	  {"ns", 1000},
		     {"us", 1000000}, {"ms", 1000000000}, {"s", 1000000000000}};
	uint64_t n;
	char *end;

	if (!parse_number(value, &n, &end))
		return "give a time such as 10us, or ticks; 0 for none";
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].name) != 0 || n > UINT64_MAX / units[i].ticks)
			continue;
		o->quantum = n * units[i].ticks;
		return NULL;
	}
	return "give a time such as 10us (units ps, ns, us, ms, s), or ticks; 0 for none";
}

static const char *take_pace(struct options *o, const char *value)
{
	o->realtime = strcmp(value, "realtime") == 0;
	return o->realtime || strcmp(value, "none") == 0 ? NULL : "give none or realtime";
}

static const struct option_row {
	const char *name;
	const char *value; /* NULL for a switch */
	const char *help;
	take_fn *take;
} rows[] = {
    {"name", "NAME", "the VM's name (default: default)", take_name},
    {"runtime-dir", "DIR", "sockets go to DIR/NAME (default: ${XDG_RUNTIME_DIR:-/run}/kvmcpud)",
     take_runtime_dir},
    {"memory", "SIZE", "guest RAM, such as 64M or 1G (default: 128M)", take_memory},
    {"cpus", "N", "vCPUs, 1 to 64 (default: 1)", take_cpus},
    {"irqchip", "none|kernel",
     "interrupt controllers and PIT in KVM, or none (default: none, kernel with --kernel)",
     take_irqchip},
    {"kernel", "FILE", "start a Linux bzImage, or an ELF by PVH or Multiboot", take_kernel},
    {"initrd", "FILE", "the kernel's initial RAM disk, or Multiboot module", take_initrd},
    {"append", "TEXT", "the kernel's command line", take_append},
    {"firmware", "FILE", "ROM below 4 GiB, its last 128 KiB also below 1 MiB", take_firmware},
    {"image", "FILE@GPA", "load FILE to a guest address; may be given several times", take_image},
    {"entry", "GPA", "where the vCPUs start (default: the reset vector)", take_entry},
    {"mode", "real|protected|long", "the mode they start in at --entry (default: real)", take_mode},
    {"hypercall", "pio:N|mmio:N|msr:N|vmcall|none",
     "how a guest makes hypercalls, once they are claimed (default: pio:0xe4)", take_hypercall},
    {"paused", NULL, "start paused", take_paused},
    {"strict", NULL, "stop a vCPU at an access that nobody claims", take_strict},
    {"clock", "monotonic|tsc|none",
     "what executing costs in ticks: host time, or nothing (default: monotonic)", take_clock},
    {"host-factor", "N[/D]", "simulated time for a unit of host time (default: 1)",
     take_host_factor},
    {"quantum", "TIME", "how far vCPUs' clocks may be apart, such as 10us (default: 0, any)",
     take_quantum},
    {"pace", "none|realtime", "whether an access takes on the host what it costs (default: none)",
     take_pace},
    {"on-reset", "stop|restart", "what a guest's reset does (default: stop, the daemon ends)",
     take_on_reset},
    {"exit-on-failure", NULL, "end when a vCPU has stopped for good", take_exit_on_failure},
    {"log-level", "error|warn|info|debug", "what to log (default: info)", take_log_level},
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

static void print_help(void)
{
	printf("Usage: kvmcpud [OPTION ...]\n"
	       "Runs a virtual machine's CPUs with KVM; device models answer over a socket.\n\n"
	       "  %-32s %s\n",
	       "--config FILE", "read options from an INI file first");
	for (unsigned i = 0; i < N_ROWS; i++) {
		char left[64];
		snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].value ? " " : "",
			 rows[i].value ? rows[i].value : "");
		printf("  %-32s %s\n", left, rows[i].help);
	}
	printf("  %-32s %s\n  %-32s %s\n\nSee kvmcpud(8).\n", "--version", "print the version",
	       "--help", "print this");
}

static int refuse(const char *where, const char *name, const char *value, const char *why)
{
	fprintf(stderr, "kvmcpud: %s%s %s: %s\n", where, name, value, why);
	return STATUS_USAGE;
}

struct file_reader {
	struct options *options;
	const char *path;
	int status; /* -1 while all is well */
};

static int take_line(void *user, const char *section, const char *name, const char *value)
{
	struct file_reader *r = user;

	if (r->status != -1)
		return 1;
	if (*section != '\0' && strcmp(section, "vm") != 0) {
		r->status = refuse(r->path, ": section", section, "only [vm] is known");
		return 1;
	}
	for (unsigned i = 0; i < N_ROWS; i++) {
		if (strcmp(name, rows[i].name) != 0)
			continue;
		const char *copy = keep(value, strlen(value));
		const char *why = copy ? rows[i].take(r->options, copy) : "out of memory";
		if (why != NULL)
			r->status = refuse(r->path, ": ", name, why);
		return 1;
	}
	r->status = refuse(r->path, ": ", name, "no such option; kvmcpud --help lists them");
	return 1;
}

static int read_file(struct options *o, const char *path)
{
	struct file_reader r = {o, path, -1};
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return refuse("", "--config", path, strerror(errno));
	errno = 0;
	int line = ini_parse_file(file, take_line, &r);
	int error = ferror(file) ? errno : 0; /* of a directory, for one */
	fclose(file);
	if (error != 0)
		return refuse("", "--config", path, strerror(error));
	if (line != 0 && r.status == -1) {
		fprintf(stderr,
			"kvmcpud: %s: line %d is neither [section], name = value nor comment\n",
			path, line);
		return STATUS_USAGE;
	}
	return r.status;
}

static void make_getopt_table(struct option *table)
{
	for (unsigned i = 0; i < N_ROWS; i++)
		table[i] =
		    (struct option){rows[i].name, rows[i].value ? required_argument : no_argument,
				    NULL, (int)(256 + i)};
	table[N_ROWS] = (struct option){"config", required_argument, NULL, 'c'};
	table[N_ROWS + 1] = (struct option){"version", no_argument, NULL, 'V'};
	table[N_ROWS + 2] = (struct option){"help", no_argument, NULL, 'h'};
	table[N_ROWS + 3] = (struct option){0};
}

/* The options that stand alone, in a first pass over a command line that is
 * known to be well formed as far as they are concerned. */
static int first_pass(struct options *o, int argc, char **argv, const struct option *table)
{
	int c, status = -1;

	opterr = 0; /* its messages begin with a path and do not say what to do */
	while (status == -1 && (c = getopt_long(argc, argv, ":", table, NULL)) != -1) {
		if (c == ':')
			return refuse("", "option", argv[optind - 1],
				      "give its value as well; kvmcpud --help says which");
		if (c == '?')
			return refuse("", "option", argv[optind - 1],
				      optopt ? "it takes no value"
					     : "no such option; kvmcpud --help lists them");
		if (c == 'h') {
			print_help();
			return STATUS_OK;
		}
		if (c == 'V') {
			printf("kvmcpud %s (protocol %d.%d)\n", PACKAGE_VERSION,
			       KVMCPU_PROTOCOL_MAJOR, KVMCPU_PROTOCOL_MINOR);
			return STATUS_OK;
		}
		if (c == 'c')
			status = read_file(o, optarg);
	}
	if (status == -1 && optind < argc)
		return refuse("", "argument", argv[optind], "kvmcpud takes options only");
	return status;
}

static int second_pass(struct options *o, int argc, char **argv, const struct option *table)
{
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (c < 256)
			continue;
		const struct option_row *row = &rows[c - 256];
		const char *why = row->take(o, row->value ? optarg : "yes");
		if (why != NULL) {
			char name[64];
			snprintf(name, sizeof(name), "--%s", row->name);
			return refuse("", name, optarg ? optarg : "", why);
		}
	}
	return -1;
}

static int check_kernel(const struct options *o)
{
	if (o->firmware != NULL || o->n_images > 0 || o->has_entry || o->mode != BOOT_RESET)
		return refuse("", "--kernel", o->kernel,
			      "it says itself where it lies and starts; leave out --firmware, "
			      "--image, --entry and --mode");
	if (o->has_irqchip && o->irqchip == KVMCPU_IRQCHIP_NONE && o->cpus > 1)
		return refuse("", "--irqchip", "none",
			      "a kernel starts its other processors by their local APICs; leave "
			      "this out, or give --cpus 1");
	return -1;
}

static int check_together(const struct options *o)
{
	if (o->kernel != NULL)
		return check_kernel(o);
	if (o->initrd != NULL || o->append != NULL)
		return refuse("", o->initrd ? "--initrd" : "--append",
			      o->initrd ? o->initrd : o->append, "give --kernel as well");
	if (o->mode != BOOT_RESET && !o->has_entry)
		return refuse("", "--mode", "", "say where to start with --entry as well");
	if (o->has_entry && (o->mode == BOOT_RESET || o->mode == BOOT_REAL) && o->entry >= 1 << 20)
		return refuse("", "--entry", "", "real mode starts below 1 MiB; see --mode");
	if (o->mode == BOOT_PROTECTED && o->entry > UINT32_MAX)
		return refuse("", "--entry", "", "protected mode starts below 4 GiB");
	if (o->firmware == NULL && o->n_images == 0)
		return refuse("", "nothing to run", "", "give --kernel, --firmware or --image");
	if (o->firmware == NULL && !o->has_entry)
		return refuse("", "--entry", "", "without --firmware, say where the image starts");
	return -1;
}

int options_read(struct options *ret, int argc, char **argv)
{
	struct option table[N_ROWS + 4];
	struct options o = {
	    .name = "default",
	    .memory_bytes = 128ull << 20,
	    .cpus = 1,
	    .irqchip = KVMCPU_IRQCHIP_NONE,
	    .clock = CLOCK_SOURCE_MONOTONIC,
	    .factor_num = 1,
	    .factor_den = 1,
	    .hypercall = {KVMCPU_EXIT_PIO, OPTIONS_HYPERCALL_PORT},
	    .log_level = LOG_LEVEL_INFO,
	};
	int status;

	make_getopt_table(table);
	status = first_pass(&o, argc, argv, table);
	if (status == -1)
		status = second_pass(&o, argc, argv, table);
	if (status == -1)
		status = check_together(&o);
	if (o.has_entry && o.mode == BOOT_RESET)
		o.mode = BOOT_REAL;
	if (o.kernel != NULL && !o.has_irqchip)
		o.irqchip = KVMCPU_IRQCHIP_KERNEL;
	*ret = o;
	return status;
}
