/* SPDX-License-Identifier: MIT
 *
 * The two references. In process: a KVM_RUN loop that answers each access
 * itself. Forwarder: the same loop, but each access crosses to a bare echo
 * process and back, 64 bytes each way over a socketpair, which is the least that
 * an access answered elsewhere over a socket can cost.
 *
 * What is measured is the time between two returns of KVM_RUN.
 */
#include "config.h"

#include <err.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stamps.h"
#include "vm.h"

#define MESSAGE_BYTES 64 /* by DESIGN: about what a packed exit takes */

static _Noreturn void echo(int fd)
{
	unsigned char message[MESSAGE_BYTES];

	while (read(fd, message, sizeof(message)) == sizeof(message))
		if (write(fd, message, sizeof(message)) != sizeof(message))
			break;
	_exit(0);
}

/* Starts the echo process on cpu. Returns this side's end. */
static int start_echo(int cpu)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		err(1, "socketpair");
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		stamps_pin(cpu);
		echo(ends[1]);
	}
	close(ends[1]);
	return ends[0];
}

/* Answers the access by what the echo process sends back; fd -1: by itself. */
static void answer(struct bench_vm *vm, int fd)
{
	unsigned char message[MESSAGE_BYTES] = {0};
	int is_write;
	unsigned size;
	unsigned char *data = bench_vm_data(vm, &size, &is_write);

	if (is_write)
		memcpy(message, data, size);
	if (fd >= 0) {
		if (write(fd, message, sizeof(message)) != sizeof(message) ||
		    read(fd, message, sizeof(message)) != sizeof(message))
			err(1, "the echo process");
	}
	if (!is_write)
		memcpy(data, message, size);
}

int main(int argc, char **argv)
{
	struct bench_vm vm;
	struct stamps stamps;
	int more, fd = -1, registers = argc == 5 && strcmp(argv[4], "registers") == 0;

	if (argc != 4 && argc != 5)
		errx(64, "usage: reference CPU EXITS IMAGE [ECHO-CPU|registers]");
	stamps_init(&stamps, strtoul(argv[2], NULL, 0));
	if (argc == 5 && !registers)
		fd = start_echo(atoi(argv[4]));
	stamps_pin(atoi(argv[1]));
	bench_vm_open(&vm, argv[3]);
	if (registers)
		bench_vm_want_registers(&vm);
	do {
		bench_vm_run(&vm);
		more = stamps_add(&stamps, stamps_now());
		answer(&vm, fd);
		if (registers)
			bench_vm_set_rax(&vm, 0);
	} while (more);
	return stamps_write(&stamps);
}
