/* SPDX-License-Identifier: MIT
 *
 * A listening socket that takes one connection at a time, like a serial port that
 * has one plug. The next one waits in the kernel's queue until the first has
 * left; while there is none the output is dropped. A peer that only shuts its
 * sending side down is still a reader.
 */
#include "config.h"

#include "stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "sock.h"

static void detach(struct stream *s)
{
	if (s->in >= 0)
		close(s->in);
	s->in = s->out = -1;
	s->attached = s->more = false;
}

static ssize_t unix_write(struct stream *s, const uint8_t *buf, size_t size)
{
	ssize_t n;

	if (!s->attached)
		return (ssize_t)size;
	n = send(s->out, buf, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	/* It has gone; what it sent before may still be read. */
	s->attached = false;
	s->more = true;
	return (ssize_t)size;
}

static size_t unix_read(struct stream *s, uint8_t *buf, size_t size)
{
	ssize_t n = s->in >= 0 ? recv(s->in, buf, size, MSG_DONTWAIT) : -1;
	struct pollfd p = {.fd = s->in};

	s->more = n > 0;
	if (n > 0)
		return (size_t)n;
	if (s->in < 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return 0;
	if (n < 0 || (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR))))
		detach(s);
	else
		s->in_ended = true;
	return 0;
}

static size_t unix_poll(const struct stream *s, bool input, struct pollfd *ret)
{
	if (s->in < 0) {
		ret[0] = (struct pollfd){.fd = s->watch, .events = POLLIN};
		return 1;
	}
	/* Gone, but not read empty: nothing to wait for. */
	ret[0] = (struct pollfd){
	    .fd = s->attached ? s->in : -1,
	    .events = (short)((input && !s->in_ended ? POLLIN : 0) | (s->stalled ? POLLOUT : 0))};
	return 1;
}

static void unix_polled(struct stream *s, const struct pollfd *p, size_t n)
{
	if (p->revents == 0)
		return;
	if (s->in < 0) {
		s->in = s->out = accept4(s->watch, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		s->attached = s->in >= 0;
		s->in_ended = false;
		return;
	}
	if (p->revents & (POLLOUT | POLLHUP | POLLERR))
		s->stalled = false;
	if (p->revents & (POLLIN | POLLHUP | POLLERR))
		s->more = true;
	if (p->revents & (POLLHUP | POLLERR))
		s->attached = false;
}

static const struct stream_type unix_type = {
    .write = unix_write,
    .read = unix_read,
    .poll = unix_poll,
    .polled = unix_polled,
};

/* A socket that nobody listens on is what a killed process has left. */
static int check_free(const char *path)
{
	int fd = sock_connect(path);

	if (fd < 0)
		return fd == -ECONNREFUSED || fd == -ENOENT ? 0 : fd;
	close(fd);
	return -EADDRINUSE;
}

int stream_open_unix(struct stream *s, const char *path)
{
	int r = check_free(path);

	if (r == 0)
		r = s->watch = sock_listen(path);
	if (r < 0) {
		s->watch = -1;
		return r;
	}
	s->type = &unix_type;
	s->path = path;
	return 0;
}
