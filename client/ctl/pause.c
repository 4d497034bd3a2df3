/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl pause: done when each vCPU is paused with no access in flight. One
 * that a device holds stays paused as well, but the command says so and ends
 * with the status of a timeout.
 */
#include "config.h"

#include "ctl.h"
#include "out.h"

enum { OPTION_VCPU = 1, OPTION_TIMEOUT };

static struct {
	uint64_t vcpus, timeout_ms;
} want;

static const struct option longs[] = {
    {"vcpu", required_argument, NULL, OPTION_VCPU},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {NULL, 0, NULL, 0},
};

static int take_option(int option, const char *value)
{
	if (option == OPTION_VCPU)
		return parse_vcpus(value, &want.vcpus);
	return parse_number("--timeout", value, 600000, &want.timeout_ms);
}

static bool is_settled(const struct kvmcpu_vcpu_status *v)
{
	if (want.vcpus != 0 && !(want.vcpus >> v->vcpu & 1))
		return true;
	return v->state == KVMCPU_VCPU_STOPPED || (v->paused && v->wait.cause == KVMCPU_WAIT_NONE);
}

static int check_settled(const struct kvmcpu_status *s)
{
	int status = CTL_OK;
	char wait[512];
	size_t i;

	for (i = 0; i < s->n_vcpus; i++) {
		if (is_settled(&s->vcpus[i]))
			continue;
		out_wait(&s->vcpus[i], s->now_ns, wait, sizeof(wait));
		status = ctl_error(CTL_TIMEOUT,
				   "vCPU %u has not settled: it waits for %s; it will not run on, "
				   "but its access is not complete",
				   s->vcpus[i].vcpu, wait[0] != '\0' ? wait : "KVM");
	}
	return status;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	const struct kvmcpu_status *s;
	int r = kvmcpu_control_pause(ctl->control, want.vcpus, (uint32_t)want.timeout_ms, &s);

	if (r < 0)
		return ctl_failed(ctl, r);
	if (!ctl->json)
		out_status(s);
	else if ((r = ctl_json(ctl)) != CTL_OK)
		return r;
	return check_settled(s);
}

const struct command pause_command = {
    .name = "pause",
    .arguments = "",
    .summary = "Stops vCPUs outside the guest, their accesses completed",
    .details = "  --vcpu LIST        only these, as in 0,2,5-7 (default: all)\n"
	       "  --timeout MS       how long accesses may take to complete (default: 1000)\n",
    .shorts = "",
    .longs = longs,
    .option = take_option,
    .run = run,
};
