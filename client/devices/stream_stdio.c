/* SPDX-License-Identifier: MIT
 *
 * Standard output, and standard input: the user's terminal, or whatever else it
 * is, until its end. From a terminal more is read than the guest takes, so that
 * the keys meant for us work when the guest has hung up; the rest waits here.
 */
#include "config.h"

#include "stream.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "terminal.h"

static struct {
	bool taken;
	uint8_t typed[4096]; /* as much as the kernel keeps of a line */
	size_t used;
} terminal;

static size_t read_input(struct stream *s, uint8_t *buf, size_t size)
{
	struct pollfd p = {.fd = s->in, .events = POLLIN};
	ssize_t n;

	/* Others may share the descriptor, so it stays one that waits. */
	if (size == 0 || s->in_ended || poll(&p, 1, 0) <= 0)
		return 0;
	n = read(s->in, buf, size);
	if (n > 0)
		return (size_t)n;
	s->in_ended = n == 0 || (errno != EAGAIN && errno != EINTR);
	return 0;
}

static void read_terminal(struct stream *s)
{
	uint8_t *end = terminal.typed + terminal.used;
	size_t n = read_input(s, end, sizeof(terminal.typed) - terminal.used);

	terminal.used += terminal_filter(end, n, &s->wish);
}

static size_t stdio_read(struct stream *s, uint8_t *buf, size_t size)
{
	size_t n;

	if (!terminal.taken) {
		n = read_input(s, buf, size);
		s->more = n > 0;
		return n;
	}
	if (terminal.used < size)
		read_terminal(s);
	n = terminal.used < size ? terminal.used : size;
	memcpy(buf, terminal.typed, n);
	terminal.used -= n;
	memmove(terminal.typed, terminal.typed + n, terminal.used);
	s->more = terminal.used > 0;
	return n;
}

static size_t stdio_poll(const struct stream *s, bool input, struct pollfd *ret)
{
	bool wanted = terminal.taken ? terminal.used < sizeof(terminal.typed) : input;

	ret[0] = (struct pollfd){.fd = s->stalled ? s->out : -1, .events = POLLOUT};
	ret[1] = (struct pollfd){.fd = wanted && !s->in_ended ? s->in : -1, .events = POLLIN};
	return 2;
}

static void stdio_polled(struct stream *s, const struct pollfd *p, size_t n)
{
	if (p[0].revents != 0)
		s->stalled = false;
	if (p[1].revents == 0)
		return;
	if (terminal.taken)
		read_terminal(s);
	s->more = true;
}

static const struct stream_type stdio_type = {
    .write = stream_write_file,
    .read = stdio_read,
    .poll = stdio_poll,
    .polled = stdio_polled,
};

int stream_open_stdio(struct stream *s)
{
	struct stat st;

	if (fstat(STDOUT_FILENO, &st) < 0)
		return -errno;
	s->type = &stdio_type;
	s->out = STDOUT_FILENO;
	s->in = STDIN_FILENO;
	s->regular = S_ISREG(st.st_mode);
	s->attached = true;
	terminal.taken = terminal_take();
	/* In the background a read from the terminal would stop us. */
	s->in_ended = !terminal.taken && isatty(STDIN_FILENO);
	return 0;
}
