/* SPDX-License-Identifier: MIT
 *
 * Sockets: addresses that exist, are stale or are something else, descriptors
 * beside bytes, deadlines, and peers that go away. Both ends are in this
 * process; nothing sleeps.
 */
#include "config.h"

#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[96];

static int setup(void **state)
{
	strcpy(dir, "/tmp/sock_unit.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return rmdir(dir);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* The number that the next new descriptor gets: shows what leaked. */
static int next_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_pair(int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static void test_listen_and_connect(void **state)
{
	int before = next_fd(), listener = sock_listen(path), client, server;
	struct sock_peer peer;
	struct stat st;
	char c = 0;

	assert_true(listener >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(fcntl(listener, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(listener, F_GETFD) & FD_CLOEXEC);
	client = sock_connect(path);
	assert_true(client >= 0);
	assert_false(fcntl(client, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(client, F_GETFD) & FD_CLOEXEC);
	server = accept(listener, NULL, NULL);
	assert_true(server >= 0);
	assert_int_equal(sock_peer(server, &peer), 0);
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(peer.uid, geteuid());
	assert_int_equal(peer.gid, getegid());
	assert_int_equal(sock_send(client, "x", 1, -1, UINT64_MAX), 0);
	assert_int_equal(sock_recv(server, &c, 1, NULL, UINT64_MAX), 1);
	assert_int_equal(c, 'x');
	close(server);
	close(client);
	close(listener);
	assert_int_equal(next_fd(), before);
}

static void test_mode_under_any_umask(void **state)
{
	const mode_t masks[] = {0, 022, 077, 0277};
	struct stat st;

	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		mode_t old = umask(masks[i]);
		int listener = sock_listen(path);

		umask(old);
		assert_true(listener >= 0);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600 & ~masks[i]);
		close(listener);
	}
}

static void test_nobody_listens(void **state)
{
	int before = next_fd(), listener;

	unlink(path);
	assert_int_equal(sock_connect(path), -ENOENT);
	listener = sock_listen(path);
	close(listener);
	assert_int_equal(sock_connect(path), -ECONNREFUSED);
	/* The stale one is replaced. */
	listener = sock_listen(path);
	assert_true(listener >= 0);
	close(sock_connect(path));
	close(listener);
	assert_int_equal(next_fd(), before);
}

static void test_other_files_stay(void **state)
{
	struct stat st;
	int before, fd;

	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "keep", 4), 4);
	close(fd);
	before = next_fd();
	assert_int_equal(sock_listen(path), -EEXIST);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 4);
	unlink(path);
	/* A link to a socket is no socket. */
	assert_int_equal(symlink("elsewhere", path), 0);
	assert_int_equal(sock_listen(path), -EEXIST);
	assert_int_equal(lstat(path, &st), 0);
	unlink(path);
	assert_int_equal(next_fd(), before);
}

static void test_path_too_long(void **state)
{
	char name[109];

	memset(name, 'x', sizeof(name));
	name[108] = 0;
	assert_int_equal(sock_listen(name), -ENAMETOOLONG);
	assert_int_equal(sock_connect(name), -ENAMETOOLONG);
	name[107] = 0;
	assert_int_equal(sock_connect(name), -ENOENT);
}

static void test_descriptor_beside_bytes(void **state)
{
	int before = next_fd(), fds[2], pipe_fds[2], got = 77;
	struct stat sent, received;
	char buf[16];

	pair(fds);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(sock_send(fds[0], "hello", 5, pipe_fds[1], UINT64_MAX), 0);
	assert_true(is_open(pipe_fds[1])); /* not consumed */
	assert_int_equal(sock_recv(fds[1], buf, sizeof(buf), &got, UINT64_MAX), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_true(got >= 0 && got != pipe_fds[1]);
	assert_true(fcntl(got, F_GETFD) & FD_CLOEXEC);
	fstat(pipe_fds[1], &sent);
	fstat(got, &received);
	assert_int_equal(sent.st_ino, received.st_ino);
	close(got);
	/* And none beside the next bytes. */
	assert_int_equal(sock_send_now(fds[0], "more", 4, -1), 4);
	assert_int_equal(sock_recv_now(fds[1], buf, sizeof(buf), &got), 4);
	assert_int_equal(got, -1);
	close_pair(pipe_fds);
	close_pair(fds);
	assert_int_equal(next_fd(), before);
}

/* Sends one byte with n copies of fd. */
static void send_many(int sock, int fd, size_t n)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = "x", .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes};

	msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
	for (size_t i = 0; i < n; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &fd, sizeof(int));
	assert_int_equal(sendmsg(sock, &msg, 0), 1);
}

static void test_unwanted_descriptors_are_closed(void **state)
{
	int before = next_fd(), fds[2], got;
	char c;

	pair(fds);
	for (size_t n = 1; n <= 8; n++) {
		send_many(fds[0], 0, n);
		assert_int_equal(sock_recv(fds[1], &c, 1, NULL, UINT64_MAX), 1);
		assert_int_equal(next_fd(), before + 2);
		send_many(fds[0], 0, n);
		got = -1;
		assert_int_equal(sock_recv(fds[1], &c, 1, &got, UINT64_MAX), 1);
		assert_int_equal(got, before + 2);
		close(got);
		assert_int_equal(next_fd(), before + 2);
	}
	close_pair(fds);
}

static void check_receive_deadline(int fd, uint64_t wait_ns)
{
	uint64_t begin = sock_now_ns();
	char c;

	assert_int_equal(sock_recv(fd, &c, 1, NULL, begin + wait_ns), -ETIMEDOUT);
	assert_true(sock_now_ns() - begin >= wait_ns);
	/* An upper bound would be a guess about the machine. */
}

static void test_receive_deadline(void **state)
{
	int fds[2];
	char c;

	pair(fds);
	check_receive_deadline(fds[1], 0);
	check_receive_deadline(fds[1], 3000000);
	/* What is there already comes whatever the deadline. */
	assert_int_equal(sock_send(fds[0], "x", 1, -1, 0), 0);
	assert_int_equal(sock_recv(fds[1], &c, 1, NULL, 0), 1);
	assert_int_equal(sock_recv_now(fds[1], &c, 1, NULL), -EAGAIN);
	close_pair(fds);
}

static void test_send_deadline(void **state)
{
	static char big[1 << 20];
	int fds[2];
	ssize_t n;

	pair(fds);
	/* A socket's buffer holds less than 1 MiB here; else the loop fills it. */
	do {
		n = sock_send_now(fds[0], big, sizeof(big), -1);
	} while (n > 0);
	assert_int_equal(n, -EAGAIN);
	assert_int_equal(sock_send(fds[0], big, 1, -1, sock_now_ns() + 2000000), -ETIMEDOUT);
	close_pair(fds);
}

/* More than a socket's buffer holds, to a process that reads it. */
static void test_large_transfer(void **state)
{
	const size_t size = 4 << 20;
	char *out = malloc(size), *in = malloc(size);
	int fds[2], nonblocking;

	for (size_t i = 0; i < size; i++)
		out[i] = (char)(i * 31 >> 3);
	for (nonblocking = 0; nonblocking < 2; nonblocking++) {
		size_t got = 0;
		ssize_t n = 1;

		pair(fds);
		if (nonblocking)
			fcntl(fds[0], F_SETFL, O_NONBLOCK);
		if (fork() == 0) {
			close(fds[1]);
			_exit(sock_send(fds[0], out, size, 0, UINT64_MAX) ? 1 : 0);
		}
		close(fds[0]);
		while (n > 0 && got < size) {
			int fd;

			n = sock_recv(fds[1], in + got, size - got, &fd, UINT64_MAX);
			/* The descriptor comes with the first byte, and once. */
			assert_int_equal(fd >= 0, got == 0);
			if (fd >= 0)
				close(fd);
			got += (size_t)n;
		}
		assert_int_equal(got, size);
		assert_memory_equal(in, out, size);
		assert_int_equal(sock_recv(fds[1], in, 1, NULL, UINT64_MAX), 0);
		close(fds[1]);
	}
	free(in);
	free(out);
}

static void test_peer_goes_away(void **state)
{
	int fds[2];
	char c;

	signal(SIGPIPE, SIG_DFL); /* would end this program */
	pair(fds);
	close(fds[0]);
	assert_int_equal(sock_recv(fds[1], &c, 1, NULL, UINT64_MAX), 0);
	assert_int_equal(sock_recv(fds[1], &c, 1, NULL, 0), 0);
	assert_int_equal(sock_recv_now(fds[1], &c, 1, NULL), 0);
	assert_int_equal(sock_send(fds[1], "x", 1, -1, UINT64_MAX), -EPIPE);
	assert_int_equal(sock_send_now(fds[1], "x", 1, -1), -EPIPE);
	close(fds[1]);
	/* With bytes that it never read. */
	pair(fds);
	assert_int_equal(sock_send(fds[1], "x", 1, -1, UINT64_MAX), 0);
	close(fds[0]);
	assert_int_equal(sock_recv(fds[1], &c, 1, NULL, UINT64_MAX), -ECONNRESET);
	close(fds[1]);
	assert_int_equal(sock_recv_now(fds[1], &c, 1, NULL), -EBADF);
}

static void on_alarm(int number)
{
	(void)number;
}

/* A signal whose handler does not restart calls cuts no wait short. */
static void test_signals_do_not_end_a_wait(void **state)
{
	struct sigaction sa = {.sa_handler = on_alarm};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	struct itimerspec every_ms = {.it_interval = {0, 1000000}, .it_value = {0, 1000000}};
	timer_t timer;
	int fds[2];

	pair(fds);
	assert_int_equal(sigaction(SIGALRM, &sa, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &every_ms, NULL), 0);
	check_receive_deadline(fds[1], 10000000);
	timer_delete(timer);
	close_pair(fds);
}

static void test_paths(void **state)
{
	char buf[64] = "untouched", small[12];
	char name[66];

	assert_int_equal(sock_path(buf, sizeof(buf), "/r", "..", "f"), -EINVAL);
	assert_int_equal(sock_path(buf, sizeof(buf), "/r", "", "f"), -EINVAL);
	assert_int_equal(sock_path(buf, sizeof(buf), "/r", "a/b", "f"), -EINVAL);
	assert_int_equal(sock_path(buf, sizeof(buf), "/r", "a b", "f"), -EINVAL);
	assert_int_equal(sock_path(buf, sizeof(buf), "/r", "\xc3\xa4", "f"), -EINVAL);
	memset(name, 'n', sizeof(name));
	name[65] = 0;
	assert_int_equal(sock_path(buf, sizeof(buf), "/r", name, "f"), -EINVAL);
	assert_string_equal(buf, "untouched");
	name[64] = 0;
	assert_int_equal(sock_path(buf, sizeof(buf), "/r", name, "f"), -ENAMETOOLONG);
	assert_string_equal(buf, "untouched");
	assert_int_equal(sock_path(buf, sizeof(buf), "/r", "my-VM_1.x", "device.sock"), 0);
	assert_string_equal(buf, "/r/my-VM_1.x/device.sock");
	assert_int_equal(sock_path(small, 7, "/r", "vm", "f"), -ENAMETOOLONG);
	assert_int_equal(sock_path(small, 8, "/r", "vm", "f"), 0);
	setenv("XDG_RUNTIME_DIR", "/x", 1);
	assert_int_equal(sock_path(buf, sizeof(buf), NULL, "vm", "f"), 0);
	assert_string_equal(buf, "/x/kvmcpud/vm/f");
	setenv("XDG_RUNTIME_DIR", "", 1);
	assert_int_equal(sock_path(buf, sizeof(buf), NULL, "vm", "f"), 0);
	assert_string_equal(buf, "/run/kvmcpud/vm/f");
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(sock_path(buf, sizeof(buf), NULL, "vm", "f"), 0);
	assert_string_equal(buf, "/run/kvmcpud/vm/f");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_listen_and_connect),
	    cmocka_unit_test(test_mode_under_any_umask),
	    cmocka_unit_test(test_nobody_listens),
	    cmocka_unit_test(test_other_files_stay),
	    cmocka_unit_test(test_path_too_long),
	    cmocka_unit_test(test_descriptor_beside_bytes),
	    cmocka_unit_test(test_unwanted_descriptors_are_closed),
	    cmocka_unit_test(test_receive_deadline),
	    cmocka_unit_test(test_send_deadline),
	    cmocka_unit_test(test_large_transfer),
	    cmocka_unit_test(test_peer_goes_away),
	    cmocka_unit_test(test_signals_do_not_end_a_wait),
	    cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
