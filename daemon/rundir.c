/* SPDX-License-Identifier: MIT
 *
 * The lock file is removed with the directory. So after a lock is granted its
 * file may be one that nobody sees any more: it is taken again until the file
 * under the name is the one locked.
 */
#include "config.h"

#include "rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sock.h"

static int make_directories(char *path)
{
	for (char *slash = path + 1;; slash++) {
		slash = strchr(slash, '/');
		if (slash != NULL)
			*slash = '\0';
		/* 0711: others may reach a socket whose mode lets them, and list nothing. */
		int r = mkdir(path, 0711);
		if (slash != NULL)
			*slash = '/';
		if (r < 0 && errno != EEXIST)
			return -errno;
		if (slash == NULL)
			return 0;
	}
}

static int refuse_busy(const struct rundir *r, const struct options *o, int fd, struct fault *f)
{
	char pid[16] = "";

	if (pread(fd, pid, sizeof(pid) - 1, 0) < 0)
		pid[0] = '\0';
	pid[strcspn(pid, "\n")] = '\0';
	return fault_set(f, STATUS_BUSY,
			 "a VM named %s runs already (pid %s, %s): stop it with kvmcpuctl stop, or "
			 "choose another --name",
			 o->name, pid, r->path);
}

/* 1 when the lock is held, 0 to try again. */
static int try_lock(struct rundir *r, const struct options *o, const char *file, struct fault *f)
{
	struct stat held, named;
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), status = 0;

	if (fd < 0)
		return errno == ENOENT ? make_directories(r->path)
				       : fault_set(f, STATUS_RUNTIME, "cannot make %s: %s", file,
						   strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		status = errno == EWOULDBLOCK ? refuse_busy(r, o, fd, f)
					      : fault_set(f, STATUS_RUNTIME, "cannot lock %s: %s",
							  file, strerror(errno));
	} else if (fstat(fd, &held) == 0 && stat(file, &named) == 0 &&
		   held.st_ino == named.st_ino) {
		r->lock_fd = fd;
		return 1;
	}
	close(fd);
	return status;
}

int rundir_take(struct rundir *r, const struct options *o, struct fault *f)
{
	char file[256];
	int status = sock_path(file, sizeof(file), o->runtime_dir, o->name, "control.sock");

	r->lock_fd = -1;
	if (status < 0 || strlen(file) >= 108)
		return fault_set(
		    f, STATUS_RUNTIME,
		    "the runtime directory's path is too long for a socket (108 bytes): choose "
		    "a shorter --runtime-dir");
	snprintf(r->path, sizeof(r->path), "%.*s", (int)(strrchr(file, '/') - file), file);
	status = make_directories(r->path);
	if (status < 0)
		return fault_set(
		    f, STATUS_RUNTIME,
		    "cannot make %s: %s; choose a --runtime-dir that this user may write", r->path,
		    strerror(-status));
	snprintf(file, sizeof(file), "%s/lock", r->path);
	do
		status = try_lock(r, o, file, f);
	while (status == 0);
	if (status < 0)
		return -1;
	if (ftruncate(r->lock_fd, 0) < 0 || dprintf(r->lock_fd, "%d\n", (int)getpid()) < 0)
		return fault_set(f, STATUS_RUNTIME, "cannot write %s: %s", file, strerror(errno));
	return 0;
}

void rundir_release(struct rundir *r)
{
	char file[256];

	if (r->lock_fd < 0)
		return;
	snprintf(file, sizeof(file), "%s/lock", r->path);
	unlink(file);
	rmdir(r->path); /* stays if somebody put something there */
	close(r->lock_fd);
	r->lock_fd = -1;
}
