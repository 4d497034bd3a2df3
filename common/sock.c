/* SPDX-License-Identifier: MIT
 *
 * Each transfer is tried first and waited for only if it would block: what is
 * there already costs one system call. With no deadline on a blocking socket
 * the call itself waits, which is the ordinary way of a device client.
 * Interrupted calls are taken up again.
 */
#include "config.h"

#include "sock.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 64   /* connections not yet accepted; picked, not tuned */
#define MAX_NAME 64  /* bytes of a VM's name */
#define MAX_PASSED 4 /* the kernel drops what does not fit; we want one */

static int fill_address(struct sockaddr_un *sa, const char *path)
{
	size_t n = strlen(path);

	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	if (n >= sizeof(sa->sun_path))
		return -ENAMETOOLONG;
	memcpy(sa->sun_path, path, n + 1);
	return 0;
}

/* Removes a socket that nobody listens on any more; anything else stays. */
static int remove_stale(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int sock_listen(const char *path)
{
	struct sockaddr_un sa;
	int fd, r;

	r = fill_address(&sa, path);
	if (r < 0)
		return r;
	r = remove_stale(path);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* The file gets the socket's own mode less the umask (unix(7) keeps silent
	 * about it; net/unix/af_unix.c, unix_bind), so it is never wider open, and
	 * no thread's umask is touched. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		goto fail;
	if (listen(fd, BACKLOG) == 0)
		return fd;
	r = -errno;
	unlink(path);
	close(fd);
	return r;

fail:
	r = -errno;
	close(fd);
	return r;
}

int sock_connect(const char *path)
{
	struct sockaddr_un sa;
	int fd, r;

	r = fill_address(&sa, path);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	do {
		r = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	} while (r == -EINTR);
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

int sock_peer(int fd, struct sock_peer *ret)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	*ret = (struct sock_peer){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
	return 0;
}

uint64_t sock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Waits for an event on fd, or its end. 0, -ETIMEDOUT or -errno. */
static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = fd, .events = events};
	struct timespec ts, *timeout = NULL;
	int n;

	do {
		if (deadline_ns != UINT64_MAX) {
			uint64_t now = sock_now_ns();
			uint64_t left = deadline_ns > now ? deadline_ns - now : 0;

			ts.tv_sec = (time_t)(left / 1000000000);
			ts.tv_nsec = (long)(left % 1000000000);
			timeout = &ts;
		}
		n = ppoll(&p, 1, timeout, NULL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

static ssize_t send_once(int fd, const void *buf, size_t size, int passed_fd, int flags)
{
	union {
		struct cmsghdr header; /* for its alignment */
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (passed_fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &passed_fd, sizeof(int));
	}
	do {
		n = sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Keeps the first descriptor that came along for *ret_fd and closes the rest. */
static void take_descriptors(struct msghdr *msg, int *ret_fd)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*ret_fd < 0)
				*ret_fd = fd;
			else
				close(fd);
		}
	}
}

static ssize_t recv_once(int fd, void *buf, size_t size, int *ret_fd, int flags)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(MAX_PASSED * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	/* With no room for descriptors the kernel drops them itself. */
	do {
		msg.msg_control = ret_fd ? control.bytes : NULL;
		msg.msg_controllen = ret_fd ? sizeof(control.bytes) : 0;
		n = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (ret_fd) {
		*ret_fd = -1;
		take_descriptors(&msg, ret_fd);
	}
	return n;
}

/* The flag that keeps a call from waiting past the deadline. */
static int wait_flag(uint64_t deadline_ns)
{
	return deadline_ns == UINT64_MAX ? 0 : MSG_DONTWAIT;
}

int sock_send(int fd, const void *buf, size_t size, int passed_fd, uint64_t deadline_ns)
{
	const char *p = buf;

	while (size) {
		ssize_t n = send_once(fd, p, size, passed_fd, wait_flag(deadline_ns));

		if (n == -EAGAIN)
			n = wait_for(fd, POLLOUT, deadline_ns);
		else if (n > 0)
			passed_fd = -1;
		if (n < 0)
			return (int)n;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

ssize_t sock_recv(int fd, void *buf, size_t size, int *ret_fd, uint64_t deadline_ns)
{
	for (;;) {
		ssize_t n = recv_once(fd, buf, size, ret_fd, wait_flag(deadline_ns));

		if (n != -EAGAIN)
			return n;
		n = wait_for(fd, POLLIN, deadline_ns);
		if (n < 0)
			return n;
	}
}

/* Without a descriptor to pass, recv and send are the cheaper calls. */
ssize_t sock_recv_now(int fd, void *buf, size_t size, int *ret_fd)
{
	ssize_t n;

	if (ret_fd != NULL)
		return recv_once(fd, buf, size, ret_fd, MSG_DONTWAIT);
	do
		n = recv(fd, buf, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t sock_send_now(int fd, const void *buf, size_t size, int passed_fd)
{
	ssize_t n;

	if (passed_fd >= 0)
		return send_once(fd, buf, size, passed_fd, MSG_DONTWAIT);
	do
		n = send(fd, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static bool name_valid(const char *name)
{
	size_t n =
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return n && n <= MAX_NAME && !name[n] && name[0] != '.';
}

int sock_path(char *buf, size_t size, const char *runtime_dir, const char *name, const char *file)
{
	const char *base = runtime_dir, *below = "";
	char whole[4096]; /* PATH_MAX: buf stays untouched on failure */
	int n;

	if (!name_valid(name))
		return -EINVAL;
	if (!base) {
		base = getenv("XDG_RUNTIME_DIR");
		if (!base || !base[0])
			base = "/run";
		below = "/kvmcpud";
	}
	n = snprintf(whole, sizeof(whole), "%s%s/%s/%s", base, below, name, file);
	if (n < 0 || (size_t)n >= sizeof(whole) || (size_t)n >= size)
		return -ENAMETOOLONG;
	memcpy(buf, whole, (size_t)n + 1);
	return 0;
}
