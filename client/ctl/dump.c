/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl dump: everything that KVM tells about a vCPU, group by group.
 */
#include "config.h"

#include "ctl.h"
#include "out.h"

#include <stdio.h>

static uint64_t wanted_vcpu;

static const struct option longs[] = {
    {"vcpu", required_argument, NULL, 1},
    {NULL, 0, NULL, 0},
};

static int take_option(int option, const char *value)
{
	return parse_number("--vcpu", value, KVMCPU_MAX_VCPUS - 1, &wanted_vcpu);
}

static void print_group(const struct kvmcpu_register_group *g)
{
	size_t i;

	printf("\n[%s]\n", g->name);
	if (g->error != NULL && g->error[0] != '\0')
		printf("not known: %s\n", g->error);
	for (i = 0; i < g->n_registers; i++) {
		const struct kvmcpu_register *r = &g->registers[i];

		if (r->bytes == NULL) {
			printf("%-16s 0x%016llx\n", r->name, (unsigned long long)r->value);
			continue;
		}
		printf("%s, %zu bytes:\n", r->name, r->size);
		out_hexdump(0, r->bytes, r->size);
	}
}

static void print_dump(const struct kvmcpu_dump *d)
{
	size_t i;

	printf("vCPU %u at tick %llu: %s\n", d->vcpu, (unsigned long long)d->tick,
	       d->cause != NULL ? d->cause : "");
	if (d->access_pending)
		puts("An access is in flight: the registers are those before it.");
	for (i = 0; i < d->n_groups; i++)
		print_group(&d->groups[i]);
	printf("\n[code]\n");
	if (d->code_size == 0)
		puts("not known: rip maps to no RAM");
	out_hexdump(d->code_address, d->code, d->code_size);
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	const struct kvmcpu_dump *d;
	int r = kvmcpu_control_dump(ctl->control, (uint32_t)wanted_vcpu, &d);

	if (r < 0)
		return ctl_failed(ctl, r);
	if (ctl->json)
		return ctl_json(ctl);
	print_dump(d);
	return CTL_OK;
}

const struct command dump_command = {
    .name = "dump",
    .arguments = "",
    .summary = "Shows a vCPU's registers and the code that it runs",
    .details = "  --vcpu N           the vCPU (default: 0)\n",
    .shorts = "",
    .longs = longs,
    .option = take_option,
    .run = run,
};
