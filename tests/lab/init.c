// SPDX-License-Identifier: MIT
/*
 * The lab's only process of its own: process 1 of the emulated machine.
 *
 * It comes with an initramfs that lab.py packs: /modules in loading order, /command
 * and /environment (words that end with a NUL), and /terminal if the command is to
 * have one. It loads the modules, lays a writable layer in memory over the host's
 * root, which comes read-only by virtiofs, moves there, and runs the command.
 *
 * Everything that the host hears goes over one virtio serial port as frames, so that
 * the order of output and status is kept: the status is last, and the host then ends
 * the machine. The command itself sees pipes or a terminal, never that port, which
 * could not be opened twice (as /dev/stderr wants).
 *
 * What goes wrong before the command runs is said on the console, whose last lines
 * lab.py shows.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOT "/root"	     // where the new root is built
#define CHUNK 16384	     // bytes of a frame at most; picked
#define SIGN_OF_LIFE_MS 5000 // of a machine whose command is silent; picked
#define PORT "/dev/vport*p1" // port 0 of a virtio serial device is its console

// A frame on the port: this, then size bytes. lab.py has the same numbers.
struct frame {
	uint32_t kind;
	uint32_t size;
};

enum {
	TO_HOST_UP = 1, // the command is about to be run, or still runs
	TO_HOST_OUTPUT = 2,
	TO_HOST_ERROR = 3,
	TO_HOST_STATUS = 4, // one 32-bit number
	TO_LAB_INPUT = 5,   // for the terminal
	TO_LAB_WINDOW = 6,  // the terminal's size: struct winsize
};

static const struct {
	const char *source, *target, *type, *options;
	unsigned long flags;
} mounts[] = {
    {"proc", ROOT "/proc", "proc", "", 0},
    {"sysfs", ROOT "/sys", "sysfs", "", 0},
    {"tracefs", ROOT "/sys/kernel/tracing", "tracefs", "", 0},
    {"devtmpfs", ROOT "/dev", "devtmpfs", "", 0},
    {"devpts", ROOT "/dev/pts", "devpts", "ptmxmode=0666", 0},
    {"tmpfs", ROOT "/dev/shm", "tmpfs", "mode=1777", 0},
    {"tmpfs", ROOT "/run", "tmpfs", "mode=0755", 0},
};

static const struct {
	const char *target, *name;
} links[] = {
    {"/proc/self/fd", "/dev/fd"},
    {"/proc/self/fd/0", "/dev/stdin"},
    {"/proc/self/fd/1", "/dev/stdout"},
    {"/proc/self/fd/2", "/dev/stderr"},
};

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "lab: %s: %s\n", what, strerror(errno));
	sync();
	reboot(RB_AUTOBOOT); // QEMU runs with -no-reboot
	_exit(1);
}

static void must_mount(const char *source, const char *target, const char *type,
		       unsigned long flags, const char *options)
{
	mkdir(target, 0755); // a directory that is there already is fine
	if (mount(source, target, type, flags, options))
		die(target);
}

// The bytes of a file of the initramfs, with a NUL behind them; *size without it.
static char *slurp(const char *path, size_t *size)
{
	struct stat about;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &about))
		die(path);
	char *bytes = calloc(1, about.st_size + 1);
	if (!bytes || read(fd, bytes, about.st_size) != about.st_size)
		die(path);
	close(fd);
	*size = about.st_size;
	return bytes;
}

// The words of a file, each ended by a NUL, as a vector like argv.
static char **read_words(const char *path)
{
	size_t size, count = 0;
	char *bytes = slurp(path, &size);
	char **words = calloc(size + 1, sizeof *words);
	if (!words)
		die(path);
	for (char *word = bytes; word < bytes + size; word += strlen(word) + 1)
		words[count++] = word;
	return words;
}

static void load_modules(void)
{
	glob_t found;
	if (glob("/modules/*", 0, NULL, &found)) // sorted by name, which begins with a number
		die("/modules");
	for (size_t i = 0; i < found.gl_pathc; i++) {
		int fd = open(found.gl_pathv[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			die(found.gl_pathv[i]);
		close(fd);
	}
	globfree(&found);
}

// Whether path is directory or lies below it.
static int is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);
	return path && !strncmp(path, directory, length) && (path[length] == '/' || !path[length]);
}

static void build_root(void)
{
	char share[4096];
	must_mount("root", "/host", "virtiofs", MS_RDONLY, "");
	must_mount("tmpfs", "/memory", "tmpfs", 0, "mode=0755,size=75%");
	mkdir("/memory/upper", 0755);
	mkdir("/memory/work", 0755);
	must_mount("overlay", ROOT, "overlay", 0,
		   "lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work");
	for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
		must_mount(mounts[i].source, mounts[i].target, mounts[i].type, mounts[i].flags,
			   mounts[i].options);
	// The host's /tmp is of no use here, unless what is to be run lies in it.
	if (!is_below(getenv("KVMCPUD_LAB_DIR"), "/tmp") && !is_below(getenv("PWD"), "/tmp"))
		must_mount("tmpfs", ROOT "/tmp", "tmpfs", 0, "mode=1777");
	snprintf(share, sizeof share, ROOT "%s", getenv("KVMCPUD_LAB_DIR"));
	must_mount("share", share, "virtiofs", 0, "");
}

static void enter_root(void)
{
	if (chdir(ROOT) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot("."))
		die("the new root");
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		if (symlink(links[i].target, links[i].name) && errno != EEXIST)
			die(links[i].name);
	if (chdir(getenv("PWD"))) {
		fprintf(stderr, "lab: %s is not visible here\n", getenv("PWD"));
		if (chdir("/"))
			die("/");
	}
}

static void raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
		die("lo");
	close(fd);
}

// The device appears some milliseconds after its driver was loaded.
static int open_port(void)
{
	glob_t found;
	for (int tries = 0; tries < 1000; tries++) {
		if (!glob(PORT, 0, NULL, &found)) {
			int fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
			if (fd < 0)
				die(found.gl_pathv[0]);
			globfree(&found);
			return fd;
		}
		usleep(10000);
	}
	errno = ENODEV;
	die(PORT);
}

static void put(int fd, const void *bytes, size_t size)
{
	for (ssize_t done; size; bytes = (const char *)bytes + done, size -= done) {
		done = write(fd, bytes, size);
		if (done < 0 && errno != EINTR && errno != EAGAIN)
			die("the port to the host");
		if (done < 0)
			done = 0;
	}
}

static void get(int fd, void *bytes, size_t size)
{
	for (ssize_t done; size; bytes = (char *)bytes + done, size -= done) {
		done = read(fd, bytes, size);
		if (done <= 0 && errno != EINTR)
			die("the port from the host");
		if (done < 0)
			done = 0;
	}
}

// One write for each frame: each costs a round through QEMU.
static void tell(int port, uint32_t kind, const void *bytes, uint32_t size)
{
	static char whole[sizeof(struct frame) + CHUNK];
	struct frame head = {kind, size};
	memcpy(whole, &head, sizeof head);
	memcpy(whole + sizeof head, bytes, size);
	put(port, whole, sizeof head + size);
}

/*
 * The command's side of what init forwards: two pipes, or a terminal, which has
 * only the first. Closed ends are -1, which poll passes over.
 */
struct streams {
	int out, err; // init reads here
	int command_in, command_out, command_err;
};

static struct streams make_pipes(void)
{
	int out[2], err[2];
	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		die("pipe");
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return (struct streams){out[0], err[0], in, out[1], err[1]};
}

static struct streams make_terminal(void)
{
	int leader = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (leader < 0 || grantpt(leader) || unlockpt(leader))
		die("/dev/ptmx");
	int line = open(ptsname(leader), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (line < 0)
		die("the terminal");
	return (struct streams){leader, -1, line, line, line};
}

static pid_t run(const struct streams *streams, char **command)
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	dup2(streams->command_in, 0);
	dup2(streams->command_out, 1);
	dup2(streams->command_err, 2);
	ioctl(0, TIOCSCTTY, 0); // fails on /dev/null, and is not needed there
	execvp(command[0], command);
	int status = errno == ENOENT ? 127 : 126; // as shells do
	dprintf(2, "tools/lab: %s: %s\n", command[0], strerror(errno));
	_exit(status);
}

static void close_command_ends(struct streams *streams)
{
	close(streams->command_in);
	close(streams->command_out); // on a terminal the same number thrice: EBADF is fine
	close(streams->command_err);
	fcntl(streams->out, F_SETFL, O_NONBLOCK | O_RDWR);
	fcntl(streams->err, F_SETFL, O_NONBLOCK);
}

// Forwards what is there, until there is nothing for the moment. An end closes *fd.
static void forward(int port, uint32_t kind, int *fd)
{
	char bytes[CHUNK];
	for (;;) {
		ssize_t size = *fd < 0 ? -1 : read(*fd, bytes, sizeof bytes);
		if (size > 0) {
			tell(port, kind, bytes, size);
			continue;
		}
		if (*fd >= 0 && (!size || errno == EIO)) { // EIO: a terminal nobody has open
			close(*fd);
			*fd = -1;
		}
		return;
	}
}

static void take_from_host(int port, int terminal)
{
	char bytes[CHUNK];
	struct frame head;
	get(port, &head, sizeof head);
	if (head.size > sizeof bytes) {
		errno = EPROTO;
		die("the port from the host");
	}
	get(port, bytes, head.size);
	if (head.kind == TO_LAB_INPUT && write(terminal, bytes, head.size) < 0)
		return; // nobody reads there any more
	if (head.kind == TO_LAB_WINDOW && head.size == sizeof(struct winsize))
		ioctl(terminal, TIOCSWINSZ, bytes);
}

// Collects children; true once the command is among them.
static int reap(pid_t command, int *ret_status)
{
	int status, ended = 0;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		if (pid != command)
			continue;
		*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		ended = 1;
	}
	return ended;
}

static int attend(int port, struct streams *streams, int children, pid_t command)
{
	struct signalfd_siginfo news;
	for (int status;;) {
		struct pollfd wait[] = {{port, POLLIN, 0},
					{streams->out, POLLIN, 0},
					{streams->err, POLLIN, 0},
					{children, POLLIN, 0}};
		int ready = poll(wait, 4, SIGN_OF_LIFE_MS);
		if (ready < 0)
			die("poll");
		if (!ready)
			tell(port, TO_HOST_UP, "", 0);
		if (wait[0].revents)
			take_from_host(port, streams->out);
		forward(port, TO_HOST_OUTPUT, &streams->out);
		forward(port, TO_HOST_ERROR, &streams->err);
		if (!wait[3].revents || read(children, &news, sizeof news) < 0 ||
		    !reap(command, &status))
			continue;
		forward(port, TO_HOST_OUTPUT, &streams->out);
		forward(port, TO_HOST_ERROR, &streams->err);
		return status;
	}
}

int main(void)
{
	must_mount("devtmpfs", "/dev", "devtmpfs", 0, "");
	load_modules();
	clearenv();
	for (char **word = read_words("/environment"); *word; word++)
		putenv(*word);
	char **command = read_words("/command");
	int on_terminal = !access("/terminal", F_OK);
	build_root();
	int port = open_port();
	enter_root();
	raise_loopback();

	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	int children = signalfd(-1, &child, SFD_CLOEXEC);
	struct streams streams = on_terminal ? make_terminal() : make_pipes();
	tell(port, TO_HOST_UP, "", 0);
	pid_t pid = run(&streams, command);
	close_command_ends(&streams);
	uint32_t status = attend(port, &streams, children, pid);
	sync(); // the share's pages
	tell(port, TO_HOST_STATUS, &status, sizeof status);
	for (;;)
		pause();
}
