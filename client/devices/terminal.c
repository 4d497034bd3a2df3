/* SPDX-License-Identifier: MIT
 *
 * The terminal's settings are put back by whoever ends the process: main(), or
 * the handler of a signal, which then lets the signal do what it does. So the
 * exit status still tells of the signal, and a stopped process leaves its user a
 * usable shell. tcsetattr(3) is safe in a handler (signal-safety(7)). Output is
 * processed as before, so that our own messages begin at the left.
 */
#include "config.h"

#include "terminal.h"

#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#define PREFIX 0x01 /* Ctrl-A */

static struct termios saved, raw;
static volatile sig_atomic_t taken;
static bool prefixed;

static bool in_foreground(void)
{
	return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void set_if_ours(const struct termios *t)
{
	if (taken && in_foreground())
		tcsetattr(STDIN_FILENO, TCSANOW, t);
}

/* The handler is gone once it runs (SA_RESETHAND), so the signal now does what it
 * does by default. */
static void on_end(int signal)
{
	set_if_ours(&saved);
	raise(signal);
}

static void on_stop(int signal)
{
	set_if_ours(&saved);
	raise(SIGSTOP);
}

static void on_continue(int signal)
{
	set_if_ours(&raw);
}

static void handle(int signal, void (*handler)(int), int flags)
{
	struct sigaction old, new = {.sa_handler = handler, .sa_flags = flags | SA_RESTART};

	if (sigaction(signal, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		sigaction(signal, &new, NULL);
}

bool terminal_take(void)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	size_t i;

	if (tcgetattr(STDIN_FILENO, &saved) < 0 || !in_foreground())
		return false;
	raw = saved;
	cfmakeraw(&raw);
	raw.c_oflag = saved.c_oflag;
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		handle(ends[i], on_end, (int)SA_RESETHAND | SA_NODEFER);
	handle(SIGTSTP, on_stop, 0);
	handle(SIGCONT, on_continue, 0);
	taken = 1;
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void terminal_restore(void)
{
	set_if_ours(&saved);
	taken = 0;
}

static const char help[] = "\r\nCtrl-A x  stop the VM\r\n"
			   "Ctrl-A d  detach: kvmcpu-pc ends, the VM waits for the next one\r\n"
			   "Ctrl-A Ctrl-A  send one to the guest\r\n"
			   "Ctrl-A ?  this list\r\n";

/* What the key behind the prefix is for; true if it goes to the guest. */
static bool take_command(uint8_t key, enum terminal_wish *wish)
{
	switch (key) {
	case 'x':
		*wish = TERMINAL_STOP;
		return false;
	case 'd':
		*wish = TERMINAL_DETACH;
		return false;
	case '?':
		fputs(help, stderr);
		return false;
	default:
		return key == PREFIX;
	}
}

size_t terminal_filter(uint8_t *buf, size_t size, enum terminal_wish *ret_wish)
{
	size_t i, left = 0;

	for (i = 0; i < size; i++) {
		bool was = prefixed;

		prefixed = !was && buf[i] == PREFIX;
		if (was ? take_command(buf[i], ret_wish) : !prefixed)
			buf[left++] = buf[i];
	}
	return left;
}
