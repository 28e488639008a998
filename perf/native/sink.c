/* sink.c: as many bytes as a server takes that gives nothing back.
 *
 * They come from a file in memory: sendfile(2) gives its pages to the socket without a copy, so
 * that the server, which has to copy, is the one that limits. `--size` is the bytes of a call.
 */
#include "load.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

enum { CALLS = 64 };

static int file;
static long waiting; /* connections that are full, and watched for room */

static void open_file(void)
{
	file = memfd_create("load", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, options.size) < 0)
		err(2, "a file in memory");
	char *bytes = mmap(NULL, (size_t)options.size, PROT_WRITE, MAP_SHARED, file, 0);
	if (bytes == MAP_FAILED)
		err(2, "mmap");
	memset(bytes, 'x', (size_t)options.size);
	munmap(bytes, (size_t)options.size);
}

static void await_room(struct connection *conn)
{
	struct io_uring_sqe *sqe = next_sqe(&load.ring);
	io_uring_prep_poll_add(sqe, conn->fd, POLLOUT);
	sqe->user_data = tag(SEND, (size_t)(conn - load.connections));
	waiting++;
}

static void begin(void)
{
	open_file();
	for (long i = 0; i < options.connections; i++) {
		int fd = load.connections[i].fd;
		if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
			err(2, "fcntl");
		await_room(&load.connections[i]);
	}
}

/* Only so often, so that time is looked at however fast the server is. */
static void fill(struct connection *conn)
{
	for (int calls = 0; calls < CALLS; calls++) {
		off_t from = 0;
		ssize_t sent = sendfile(conn->fd, file, &from, (size_t)options.size);
		if (sent < 0 && errno == EAGAIN)
			return;
		if (sent <= 0)
			err(1, "a connection broke: sendfile");
		load.bytes += (uint64_t)sent;
		load.messages = load.bytes / (uint64_t)options.size;
	}
}

static void completed(const struct io_uring_cqe *cqe)
{
	waiting--;
	if (cqe->res < 0 || cqe->res & (POLLERR | POLLHUP))
		errx(1, "the server closed a connection");
	if (load.phase == DRAINING)
		return;
	fill(connection_of(cqe));
	await_room(connection_of(cqe));
}

static bool is_quiet(void)
{
	return waiting == 0;
}

const struct mode sink_mode = {
	.name = "sink",
	.begin = begin,
	.completed = completed,
	.is_quiet = is_quiet,
};
