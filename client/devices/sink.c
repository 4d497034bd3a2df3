/* SPDX-License-Identifier: MIT
 *
 * Bytes of one exit are gathered and written at once. The pty is raw and does
 * not echo, so that what the guest writes is what a reader gets.
 */
#include "config.h"

#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "log.h"

static int set_up_pty(struct sink *s)
{
	struct termios t;
	char name[64];

	if (grantpt(s->fd) < 0 || unlockpt(s->fd) < 0 || ptsname_r(s->fd, name, sizeof(name)) != 0)
		return -errno;
	s->slave_fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->slave_fd < 0 || tcgetattr(s->slave_fd, &t) < 0)
		return -errno;
	cfmakeraw(&t);
	if (tcsetattr(s->slave_fd, TCSANOW, &t) < 0)
		return -errno;
	log_info("the serial port is %s", name);
	return 0;
}

static int open_pty(struct sink *s)
{
	s->fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0)
		return -errno;
	s->is_pty = true;
	return set_up_pty(s);
}

int sink_open(struct sink *s, const char *where)
{
	int r = 0;

	*s = (struct sink){.fd = -1, .slave_fd = -1};
	if (strcmp(where, "pty") == 0) {
		r = open_pty(s);
	} else if (strcmp(where, "-") == 0) {
		s->fd = STDOUT_FILENO;
	} else {
		s->fd = open(where, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		r = s->fd < 0 ? -errno : 0;
	}
	if (r < 0)
		sink_close(s);
	return r;
}

void sink_close(struct sink *s)
{
	if (s->fd >= 0 && s->fd != STDOUT_FILENO)
		close(s->fd);
	if (s->slave_fd >= 0)
		close(s->slave_fd);
	s->fd = s->slave_fd = -1;
}

void sink_put(struct sink *s, uint8_t byte)
{
	if (s->used == sizeof(s->buf))
		sink_flush(s);
	s->buf[s->used++] = byte;
}

int sink_flush(struct sink *s)
{
	size_t done = 0;
	ssize_t n;

	while (s->error == 0 && done < s->used) {
		n = write(s->fd, s->buf + done, s->used - done);
		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN && s->is_pty)
			break;
		else if (errno != EINTR)
			s->error = -errno;
	}
	s->used = 0;
	return s->error;
}

size_t sink_take(struct sink *s, uint8_t *buf, size_t size)
{
	ssize_t n;

	if (!s->is_pty || size == 0)
		return 0;
	n = read(s->fd, buf, size);
	return n > 0 ? (size_t)n : 0;
}
