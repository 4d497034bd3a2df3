/* SPDX-License-Identifier: MIT
 *
 * A VM's status as people read it: one line for the VM, a table of its vCPUs, and
 * who keeps which of them waiting.
 */
#include "config.h"

#include "out.h"

#include <stdio.h>
#include <string.h>

#include "codec.h"

static const char *direction_name(enum kvmcpu_direction direction)
{
	return direction == KVMCPU_READ ? " read" : direction == KVMCPU_WRITE ? " write" : "";
}

static bool has_address(enum kvmcpu_exit_kind kind)
{
	return kind == KVMCPU_EXIT_PIO || kind == KVMCPU_EXIT_MMIO || kind == KVMCPU_EXIT_MSR ||
	       kind == KVMCPU_EXIT_HYPERCALL;
}

/* "pio write 0x3f8, 1 byte" */
static void describe_access(const struct kvmcpu_vcpu_status *v, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s%s", codec_kind_name(v->wait.kind),
			 direction_name(v->wait.direction));

	if (has_address(v->wait.kind))
		n += snprintf(buf + n, size - (size_t)n, " %#llx",
			      (unsigned long long)v->wait.address);
	if (v->wait.size_bytes > 0)
		snprintf(buf + n, size - (size_t)n, ", %u byte%s", v->wait.size_bytes,
			 v->wait.size_bytes == 1 ? "" : "s");
}

static const char *quoted(const char *name)
{
	return name != NULL && name[0] != '\0' ? name : "?";
}

void out_wait(const struct kvmcpu_vcpu_status *v, uint64_t now_ns, char *buf, size_t size)
{
	uint64_t since = v->wait.since_ns;
	char access[96], time[OUT_TIME];

	describe_access(v, access, sizeof(access));
	out_time(time, now_ns > since ? now_ns - since : 0);
	switch (v->wait.cause) {
	case KVMCPU_WAIT_REPLY:
		snprintf(buf, size, "reply of '%s' (claim '%s') to %s, for %s",
			 quoted(v->wait.client), quoted(v->wait.claim), access, time);
		break;
	case KVMCPU_WAIT_TURN:
		snprintf(buf, size, "its turn on the channel of '%s' (claim '%s') with %s, for %s",
			 quoted(v->wait.client), quoted(v->wait.claim), access, time);
		break;
	case KVMCPU_WAIT_ABSENT:
		snprintf(buf, size, "somebody to claim %s, for %s; last '%s' of '%s'", access, time,
			 quoted(v->wait.claim), quoted(v->wait.client));
		break;
	case KVMCPU_WAIT_NONE:
		buf[0] = '\0';
		break;
	}
}

static const char *vm_state_name(enum kvmcpu_vm_state state)
{
	return state == KVMCPU_VM_RUNNING   ? "running"
	       : state == KVMCPU_VM_PAUSED  ? "paused"
	       : state == KVMCPU_VM_STOPPED ? "stopped"
					    : "?";
}

static void print_vm(const struct kvmcpu_status *s)
{
	char memory[OUT_TIME], up[OUT_TIME];

	printf("VM %s: %s, %u vCPU%s, %s, %s interrupt controller\n", quoted(s->vm.name),
	       vm_state_name(s->state), s->vm.vcpus, s->vm.vcpus == 1 ? "" : "s",
	       out_size(memory, s->vm.memory_bytes),
	       s->vm.irqchip == KVMCPU_IRQCHIP_KERNEL ? "kernel" : "no");
	printf("kvmcpud %s, pid %u, up %s, %llu ticks per second\n", quoted(s->daemon_version),
	       s->pid, out_time(up, s->now_ns > s->started_ns ? s->now_ns - s->started_ns : 0),
	       (unsigned long long)s->vm.ticks_per_second);
}

static void add_vcpu(struct table *t, const struct kvmcpu_status *s,
		     const struct kvmcpu_vcpu_status *v)
{
	char time[OUT_TIME], wait[512];

	table_cell(t, "%u", v->vcpu);
	table_cell(t, "%s", codec_state_name(v->state));
	table_cell(t, "%s", v->paused ? "yes" : "no");
	table_cell(t, "%llu", (unsigned long long)v->tick);
	table_cell(t, "%llu", (unsigned long long)v->exit_seq);
	table_cell(t, "%u", v->thread_id);
	if (v->first_entry_ns > s->started_ns)
		table_cell(t, "%s", out_time(time, v->first_entry_ns - s->started_ns));
	else
		table_cell(t, "%s", "");
	out_wait(v, s->now_ns, wait, sizeof(wait));
	if (v->state == KVMCPU_VCPU_STOPPED)
		table_cell(t, "nothing: %s", quoted(v->stop_reason));
	else
		table_cell(t, "%s", wait);
}

void out_status(const struct kvmcpu_status *s)
{
	struct table t = {.right = 0x79};
	size_t i;

	print_vm(s);
	putchar('\n');
	table_header(&t, "vcpu|state|paused|tick|exit|thread|entered after|waits for");
	for (i = 0; i < s->n_vcpus; i++)
		add_vcpu(&t, s, &s->vcpus[i]);
	table_print(&t);
	for (i = 0; i < s->n_notes; i++)
		printf("note: %s\n", s->notes[i]);
}

const char *out_run_end(enum kvmcpu_run_end end)
{
	static const char *const texts[] = {
	    [KVMCPU_RUN_END_BUDGET] = "the budget is used up",
	    [KVMCPU_RUN_END_EXIT] = "an exit was answered",
	    [KVMCPU_RUN_END_HALT] = "halted",
	    [KVMCPU_RUN_END_EVENT] = "a device ended the run",
	    [KVMCPU_RUN_END_CANCELLED] = "cancelled",
	    [KVMCPU_RUN_END_STOPPED] = "stopped for good",
	    [KVMCPU_RUN_END_INSTRUCTIONS] = "paused",
	};

	return end < sizeof(texts) / sizeof(texts[0]) && texts[end] != NULL ? texts[end] : "?";
}
