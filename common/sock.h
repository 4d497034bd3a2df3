/* SPDX-License-Identifier: MIT
 *
 * AF_UNIX stream sockets: addresses, descriptors beside bytes, deadlines, and
 * who the peer is. Thin wrappers, so that no other file spells out cmsg.
 *
 * Any thread. All descriptors made here are close-on-exec.
 */
#ifndef KVMCPU_SOCK_H
#define KVMCPU_SOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sock_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

/* A listening, non-blocking socket at path, with mode 0600 less the umask's
 * bits; a socket that is there already is replaced (the caller holds a lock that
 * says nobody listens on it). Returns it, or -errno; -ENAMETOOLONG if path does
 * not fit sun_path. */
int sock_listen(const char *path);

/* A connected, blocking socket, or -errno: -ENOENT and -ECONNREFUSED mean that
 * no daemon listens there. */
int sock_connect(const char *path);

/* Who connected, by SO_PEERCRED. 0 or -errno. */
int sock_peer(int fd, struct sock_peer *ret);

/* Sends size bytes, and passed_fd beside the first of them unless it is -1; it
 * is NOT consumed. Waits for room until deadline_ns (CLOCK_MONOTONIC;
 * UINT64_MAX: for ever), on a blocking socket or not. 0 or -errno: -ETIMEDOUT,
 * -EPIPE and -ECONNRESET if the peer is gone; no SIGPIPE. */
int sock_send(int fd, const void *buf, size_t size, int passed_fd, uint64_t deadline_ns);

/* Receives what is there, at most size bytes, waiting for the first until
 * deadline_ns. A descriptor that came along goes to *ret_fd (the caller owns
 * it; -1 for none), or is closed if ret_fd is NULL. Returns the bytes, 0 at the
 * end of the stream, or -errno. */
ssize_t sock_recv(int fd, void *buf, size_t size, int *ret_fd, uint64_t deadline_ns);

/* As sock_recv but without waiting: -EAGAIN if nothing is there. */
ssize_t sock_recv_now(int fd, void *buf, size_t size, int *ret_fd);
/* Sends what fits without waiting; returns the bytes or -EAGAIN, -errno.
 * passed_fd travels only if at least one byte was sent. */
ssize_t sock_send_now(int fd, const void *buf, size_t size, int passed_fd);

/* CLOCK_MONOTONIC now, in nanoseconds. */
uint64_t sock_now_ns(void);

/* The path of a VM's socket: RUNTIME_DIR/NAME/ROLE.sock, where runtime_dir NULL
 * means ${XDG_RUNTIME_DIR:-/run}/kvmcpud. 0 or -ENAMETOOLONG; -EINVAL for a name
 * that is empty, longer than 64 bytes, begins with a dot or holds anything but
 * letters, digits, '-', '_' and '.'. */
int sock_path(char *buf, size_t size, const char *runtime_dir, const char *name, const char *file);

#endif
