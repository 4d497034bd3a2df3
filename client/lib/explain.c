/* SPDX-License-Identifier: MIT
 *
 * Nobody listens: says where it was looked for, how to start a daemon, and which
 * VMs do run in the same directory. A VM counts as running if something accepts
 * connections on its control socket; sockets that a crash left behind do not.
 */
#include "config.h"

#include "conn.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sock.h"

#define LISTED_VMS 8 /* a sentence names no more; picked, not tuned */

static bool runs(const char *runtime_dir, const char *vm)
{
	char path[256];
	int fd;

	if (sock_path(path, sizeof(path), runtime_dir, vm, "control.sock") < 0)
		return false;
	fd = sock_connect(path);
	if (fd < 0)
		return fd == -EACCES;
	close(fd);
	return true;
}

/* The directory that holds VMs: a socket's path less its last two parts. */
static int vms_dir(char *buf, size_t size, const char *runtime_dir)
{
	int i, r = sock_path(buf, size, runtime_dir, "x", "x");

	for (i = 0; r == 0 && i < 2; i++) {
		char *slash = strrchr(buf, '/');

		if (slash == NULL)
			return -EINVAL;
		*slash = '\0';
	}
	return r;
}

/* "a, b and more", or "" */
static void list_running(char *buf, size_t size, const char *runtime_dir)
{
	char path[256];
	struct dirent *e;
	size_t used = 0, n = 0;
	DIR *dir;

	buf[0] = '\0';
	if (vms_dir(path, sizeof(path), runtime_dir) < 0)
		return;
	dir = opendir(path);
	if (dir == NULL)
		return;
	while ((e = readdir(dir)) != NULL && used < size) {
		if (e->d_name[0] == '.' || !runs(runtime_dir, e->d_name))
			continue;
		if (n++ == LISTED_VMS) {
			snprintf(buf + used, size - used, " and more");
			break;
		}
		used +=
		    (size_t)snprintf(buf + used, size - used, "%s%s", n > 1 ? ", " : "", e->d_name);
	}
	closedir(dir);
}

int explain_connect(int r, const struct kvmcpu_peer *peer, const char *file, char *text,
		    size_t size)
{
	const char *vm = peer->vm != NULL ? peer->vm : KVMCPU_DEFAULT_VM;
	char path[256] = "", running[192];

	if (r == -EINVAL || r == -ENAMETOOLONG) {
		snprintf(text, size,
			 r == -EINVAL
			     ? "'%s' is no VM name: 1 to 64 letters, digits, '-', '_' and "
			       "'.', no '.' in front"
			     : "the runtime directory's path is too long for the socket of "
			       "VM '%s': use a shorter one",
			 vm);
		return -EINVAL;
	}
	sock_path(path, sizeof(path), peer->runtime_dir, vm, file);
	if (r != -ENOENT && r != -ECONNREFUSED) {
		snprintf(text, size, "cannot connect to %s: %s", path, strerror(-r));
		return r;
	}
	list_running(running, sizeof(running), peer->runtime_dir);
	snprintf(text, size,
		 "no daemon runs VM '%s': nobody listens at %s; start one with 'kvmcpud --name "
		 "%s', or name another VM (running there: %s)",
		 vm, path, vm, running[0] != '\0' ? running : "none");
	return r;
}
