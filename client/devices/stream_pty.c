/* SPDX-License-Identifier: MIT
 *
 * A pseudo-terminal whose other end people open when they like. As long as
 * nobody has it open the kernel says POLLHUP, the output is dropped and the
 * descriptor left out of poll, where it would never rest; inotify tells when it
 * is opened. It is raw and does not echo, so that what the guest writes is what a
 * reader gets.
 */
#include "config.h"

#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <termios.h>
#include <unistd.h>

#include "log.h"

static ssize_t pty_write(struct stream *s, const uint8_t *buf, size_t size)
{
	struct pollfd p = {.fd = s->out, .events = POLLOUT};
	ssize_t n;

	if (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP)) {
		s->attached = false;
		return (ssize_t)size;
	}
	s->attached = true;
	n = write(s->out, buf, size);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	return errno == EIO ? (ssize_t)size : -errno;
}

/* EIO is all that is left when the other end has closed and was read empty. */
static size_t pty_read(struct stream *s, uint8_t *buf, size_t size)
{
	ssize_t n = read(s->in, buf, size);

	s->more = n > 0;
	return n > 0 ? (size_t)n : 0;
}

static size_t pty_poll(const struct stream *s, bool input, struct pollfd *ret)
{
	ret[0] = (struct pollfd){.fd = s->watch, .events = POLLIN};
	ret[1] =
	    (struct pollfd){.fd = s->attached ? s->in : -1,
			    .events = (short)((input ? POLLIN : 0) | (s->stalled ? POLLOUT : 0))};
	return 2;
}

static void pty_polled(struct stream *s, const struct pollfd *p, size_t n)
{
	char events[4096] __attribute__((aligned(8)));

	if (p[0].revents != 0) {
		while (read(s->watch, events, sizeof(events)) > 0)
			;
		s->attached = true; /* or was for a moment: the next poll says */
		s->more = true;
	}
	if (p[1].revents & (POLLOUT | POLLHUP))
		s->stalled = false;
	if (p[1].revents & (POLLIN | POLLHUP))
		s->more = true;
	if (p[1].revents & POLLHUP)
		s->attached = false;
}

static const struct stream_type pty_type = {
    .write = pty_write,
    .read = pty_read,
    .poll = pty_poll,
    .polled = pty_polled,
};

/* Opening and closing the other end once makes the kernel tell whether somebody
 * has it open. */
static int set_up(const char *name)
{
	struct termios t;
	int r = 0, fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (tcgetattr(fd, &t) < 0) {
		r = -errno;
	} else {
		cfmakeraw(&t);
		if (tcsetattr(fd, TCSANOW, &t) < 0)
			r = -errno;
	}
	close(fd);
	return r;
}

int stream_open_pty(struct stream *s)
{
	char name[64];
	int r;

	s->in = s->out = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (s->in < 0 || grantpt(s->in) < 0 || unlockpt(s->in) < 0)
		return -errno;
	r = -ptsname_r(s->in, name, sizeof(name));
	if (r == 0)
		r = set_up(name);
	if (r < 0)
		return r;
	s->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (s->watch < 0 || inotify_add_watch(s->watch, name, IN_OPEN) < 0)
		return -errno;
	s->type = &pty_type;
	log_info("the serial port is %s", name);
	return 0;
}
