/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl clients: who is connected, and who answers for what.
 */
#include "config.h"

#include "ctl.h"
#include "out.h"

#include <stdio.h>

#include "codec.h"
#include "sock.h"

static void print_clients(const struct kvmcpu_client_list *l)
{
	struct table t = {.right = 0xf9};
	uint64_t now_ns = sock_now_ns();
	char time[OUT_TIME];
	size_t i;

	table_header(&t, "id|role|client|pid|uid|connected|served|lost");
	for (i = 0; i < l->n_clients; i++) {
		const struct kvmcpu_client_info *c = &l->clients[i];

		table_cell(&t, "%u", c->client_id);
		table_cell(&t, "%s", codec_role_name(c->role));
		table_cell(&t, "%s", c->name != NULL ? c->name : "");
		table_cell(&t, "%u", c->pid);
		table_cell(&t, "%u", c->uid);
		table_cell(&t, "%s",
			   out_time(time, now_ns > c->connected_ns ? now_ns - c->connected_ns : 0));
		table_cell(&t, "%llu", (unsigned long long)c->served);
		table_cell(&t, "%llu", (unsigned long long)c->lost);
	}
	table_print(&t);
}

static void add_owner(struct table *t, const struct kvmcpu_claim_info *c)
{
	const char *name = c->client != NULL ? c->client : "";

	if (c->client_id != 0)
		table_cell(t, "%s %u", name, c->client_id);
	else
		table_cell(t, "%s (absent)", name);
}

static void print_claims(const struct kvmcpu_client_list *l)
{
	struct table t = {.right = 0x01};
	char range[OUT_RANGE];
	size_t i;

	table_header(&t, "id|claim|range|owner|when absent|vcpus");
	for (i = 0; i < l->n_claims; i++) {
		const struct kvmcpu_claim_info *c = &l->claims[i];

		table_cell(&t, "%u", c->claim_id);
		table_cell(&t, "%s", c->claim.name != NULL ? c->claim.name : "");
		table_cell(&t, "%s %s", codec_space_name(c->claim.space),
			   out_range(range, c->claim.first, c->claim.last));
		add_owner(&t, c);
		if (c->claim.absence == KVMCPU_ABSENCE_FILL)
			table_cell(&t, "fill %#llx", (unsigned long long)c->claim.fill);
		else
			table_cell(&t, "freeze");
		if (c->vcpu_mask == UINT64_MAX || c->vcpu_mask == 0)
			table_cell(&t, "all");
		else
			table_cell(&t, "%#llx", (unsigned long long)c->vcpu_mask);
	}
	table_print(&t);
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	const struct kvmcpu_client_list *l;
	int r = kvmcpu_control_clients(ctl->control, &l);

	if (r < 0)
		return ctl_failed(ctl, r);
	if (ctl->json)
		return ctl_json(ctl);
	print_clients(l);
	if (l->n_claims > 0) {
		putchar('\n');
		print_claims(l);
	}
	return CTL_OK;
}

const struct command clients_command = {
    .name = "clients",
    .arguments = "",
    .summary = "Lists who is connected and who has claimed what",
    .details = "",
    .shorts = "",
    .run = run,
};
