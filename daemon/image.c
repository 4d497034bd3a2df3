/* SPDX-License-Identifier: MIT
 *
 * Files are read, not mapped: one that shrinks while it is loaded gives an
 * error then, and not a signal. O_NONBLOCK is for the FIFO without a writer,
 * which would hang in open.
 */
#include "config.h"

#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int image_open(const char *path, uint64_t *ret_size, struct fault *f)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return fault_set(f, STATUS_IMAGE, "cannot read %s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
		close(fd);
		return fault_set(f, STATUS_IMAGE, "cannot load %s: it is %s", path,
				 S_ISREG(st.st_mode) ? "empty" : "not a regular file");
	}
	*ret_size = (uint64_t)st.st_size;
	return fd;
}

int image_read(int fd, const char *path, uint8_t *to, uint64_t size, struct fault *f)
{
	for (uint64_t done = 0; done < size;) {
		ssize_t n = read(fd, to + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fault_set(f, STATUS_IMAGE, "cannot read %s: %s", path,
					 n < 0 ? strerror(errno) : "it shrank meanwhile");
		done += (uint64_t)n;
	}
	return 0;
}

int64_t image_size(const char *path, struct fault *f)
{
	uint64_t size;
	int fd = image_open(path, &size, f);

	if (fd < 0)
		return -1;
	close(fd);
	return (int64_t)size;
}

uint8_t *image_take(const char *path, uint64_t max_bytes, uint64_t *ret_size, struct fault *f)
{
	uint8_t *bytes = NULL;
	uint64_t size;
	int fd = image_open(path, &size, f);

	if (fd < 0)
		return NULL;
	if (size > max_bytes)
		fault_set(f, STATUS_IMAGE, "cannot load %s: it has %llu MiB, at most %llu are read",
			  path, (unsigned long long)size >> 20,
			  (unsigned long long)max_bytes >> 20);
	else if ((bytes = malloc(size)) == NULL)
		fault_set(f, STATUS_OS, "no memory to read %s", path);
	else if (image_read(fd, path, bytes, size, f) < 0) {
		free(bytes);
		bytes = NULL;
	}
	close(fd);
	if (bytes != NULL)
		*ret_size = size;
	return bytes;
}
