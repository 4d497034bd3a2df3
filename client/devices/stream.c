/* SPDX-License-Identifier: MIT
 *
 * Opening a stream by its name, the count of what was written, and the simplest
 * kind: a file. What is written to a file is there; a client that was killed
 * before it could answer the guest's access leaves bytes in it that the next one
 * is about to write again, which it can tell by the count.
 */
#include "config.h"

#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

ssize_t stream_write_file(struct stream *s, const uint8_t *buf, size_t size)
{
	struct pollfd p = {.fd = s->out, .events = POLLOUT};
	ssize_t n;

	/* A pipe that can take something takes PIPE_BUF bytes without waiting. */
	if (!s->regular && poll(&p, 1, 0) == 0)
		return 0;
	do
		n = write(s->out, buf, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n;
}

static size_t file_read(struct stream *s, uint8_t *buf, size_t size)
{
	s->more = false;
	return 0;
}

static size_t file_poll(const struct stream *s, bool input, struct pollfd *ret)
{
	if (!s->stalled)
		return 0;
	*ret = (struct pollfd){.fd = s->out, .events = POLLOUT};
	return 1;
}

static void file_polled(struct stream *s, const struct pollfd *p, size_t n)
{
	if (p->revents != 0)
		s->stalled = false;
}

static const struct stream_type file_type = {
    .write = stream_write_file,
    .read = file_read,
    .poll = file_poll,
    .polled = file_polled,
};

static int open_file(struct stream *s, const char *path)
{
	struct stat st;

	s->out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (s->out < 0 || fstat(s->out, &st) < 0)
		return -errno;
	s->type = &file_type;
	s->regular = S_ISREG(st.st_mode);
	s->attached = true;
	return 0;
}

static int open_by_name(struct stream *s, const char *where)
{
	if (strcmp(where, "none") == 0)
		return 0;
	if (strcmp(where, "-") == 0)
		return stream_open_stdio(s);
	if (strcmp(where, "pty") == 0)
		return stream_open_pty(s);
	if (strncmp(where, "unix:", 5) == 0)
		return stream_open_unix(s, where + 5);
	return open_file(s, where);
}

int stream_open(struct stream *s, const char *where)
{
	int r;

	*s = (struct stream){.in = -1, .out = -1, .watch = -1};
	r = open_by_name(s, where);
	if (r == 0)
		return 0;
	if (r == -ENAMETOOLONG && strncmp(where, "unix:", 5) == 0)
		log_error("--serial %s: a socket's path has room for 107 bytes: take a shorter one",
			  where);
	else
		log_error("--serial %s cannot be opened: %s; name a file that can be written, "
			  "unix:PATH, pty, '-' or none",
			  where, strerror(-r));
	stream_close(s);
	return r;
}

int stream_begin(struct stream *s, bool resumed)
{
	struct stat st;

	if (!resumed)
		s->written = 0;
	if (!s->regular || s->type != &file_type)
		return 0;
	if (!resumed)
		return ftruncate(s->out, 0) < 0 ? -errno : 0;
	if (fstat(s->out, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size > s->written)
		s->skip = (uint64_t)st.st_size - s->written;
	return 0;
}

void stream_close(struct stream *s)
{
	if (s->in > STDIN_FILENO && s->in != s->out)
		close(s->in);
	if (s->out >= 0 && s->out != STDOUT_FILENO)
		close(s->out);
	if (s->watch >= 0)
		close(s->watch);
	if (s->path != NULL)
		unlink(s->path);
	*s = (struct stream){.in = -1, .out = -1, .watch = -1};
}

ssize_t stream_write(struct stream *s, const uint8_t *buf, size_t size)
{
	ssize_t n;

	if (s->skip > 0)
		n = (ssize_t)(s->skip < size ? s->skip : size);
	else
		n = s->type->write(s, buf, size);
	if (n < 0)
		return n;
	if (s->skip > 0)
		s->skip -= (uint64_t)n;
	s->written += (uint64_t)n;
	s->stalled = n == 0;
	return n;
}

int stream_wait(struct stream *s, int end_fd)
{
	struct pollfd p[1 + STREAM_POLLS] = {{.fd = end_fd, .events = POLLIN}};
	size_t n = s->type->poll(s, false, p + 1);

	if (!s->stalled)
		return 0;
	if (poll(p, 1 + n, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	s->type->polled(s, p + 1, n);
	return p[0].revents != 0 ? -ECANCELED : 0;
}
