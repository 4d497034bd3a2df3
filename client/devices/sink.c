/* SPDX-License-Identifier: MIT
 *
 * Bytes of one exit are gathered and written at once.
 */
#include "config.h"

#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int sink_open(struct sink *s, const char *where)
{
	int r = 0;

	*s = (struct sink){.fd = -1};
	if (strcmp(where, "-") == 0) {
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
	s->fd = -1;
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
		else if (errno != EINTR)
			s->error = -errno;
	}
	s->used = 0;
	return s->error;
}
