/* limit_uring.c: the limit over io_uring: a server that does nothing else, on one thread.
 *
 *     limit_uring [echo|sink|source [BUFFERS BYTES]]
 *
 * Multishot accept and receive, and one system call a turn, which submits the turn's sends and
 * waits. An echo sends the receive buffer back as it is: it belongs to the connection's queue until
 * its send is done, then to the kernel again. A source owes a block for each byte that it got. One
 * send is in flight for each connection.
 *
 * The kernel takes receive buffers in turn, so that all of them pass through the CPU's cache: for
 * large messages 16 of 64 KiB are twice as fast as 1,024 of 16 KiB, for small ones it is the number
 * that counts.
 */
#define _GNU_SOURCE
#include "loopback.h"
#include "rings.h"
#include "roles.h"

enum { FDS = 65536, ENTRIES = 4096, MOST_BUFFERS = 32768, NONE = -1 };
enum request { ACCEPT, RECEIVE, SEND };

struct connection {
	uint64_t owed;   /* bytes, of a source */
	int first, last; /* buffers that wait to be sent, the first one in flight; or NONE */
	bool receiving;
	bool starved; /* is in the list of those that wait for a buffer */
	bool broken;
};

static enum role role;
static struct io_uring ring;
static struct buffers buffers;
static struct connection connections[FDS]; /* by descriptor */
static int starved[FDS], starved_count;    /* descriptors whose receive found no buffer */
static struct {
	unsigned length, sent;
	int next;
} queued[MOST_BUFFERS];

static uint64_t tag(enum request what, int fd)
{
	return (uint64_t)what << 32 | (uint32_t)fd;
}

static void receive(int fd)
{
	connections[fd].receiving = true;
	arm_receive(&ring, fd, tag(RECEIVE, fd), 0);
}

static void arm_accept(int listener)
{
	struct io_uring_sqe *sqe = next_sqe(&ring);
	io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
	sqe->user_data = tag(ACCEPT, listener);
}

static void send_first(int fd)
{
	int id = connections[fd].first;
	unsigned sent = queued[id].sent;
	struct io_uring_sqe *sqe = next_sqe(&ring);
	io_uring_prep_send(sqe, fd, buffer_at(&buffers, (unsigned)id) + sent,
			   queued[id].length - sent, MSG_NOSIGNAL);
	sqe->user_data = tag(SEND, fd);
}

static void send_owed(int fd)
{
	uint64_t owed = connections[fd].owed;
	struct io_uring_sqe *sqe = next_sqe(&ring);
	io_uring_prep_send(sqe, fd, block, owed < BLOCK ? owed : BLOCK, MSG_NOSIGNAL | MSG_WAITALL);
	sqe->user_data = tag(SEND, fd);
}

/* The descriptor is free for another connection only when no request of this one is left. */
static void end_if_idle(int fd)
{
	struct connection *conn = &connections[fd];
	if (!conn->receiving && !conn->starved && conn->first == NONE && !conn->owed)
		close(fd);
}

static void accepted(int listener, const struct io_uring_cqe *cqe)
{
	if (!(cqe->flags & IORING_CQE_F_MORE))
		arm_accept(listener);
	if (cqe->res < 0)
		return;
	if (cqe->res >= FDS) {
		close(cqe->res);
		return;
	}
	connections[cqe->res] = (struct connection){.first = NONE, .last = NONE};
	receive(cqe->res);
}

static void queue(int fd, int id, unsigned length)
{
	struct connection *conn = &connections[fd];
	queued[id].length = length;
	queued[id].sent = 0;
	queued[id].next = NONE;
	if (conn->first == NONE) {
		conn->first = conn->last = id;
		send_first(fd);
	} else {
		queued[conn->last].next = id;
		conn->last = id;
	}
}

/* What arrived, as the role has it. */
static void take(int fd, int id, unsigned length)
{
	struct connection *conn = &connections[fd];
	if (role == ECHO) {
		queue(fd, id, length);
		return;
	}
	give_buffer(&buffers, (unsigned)id);
	if (role == SINK)
		return;
	conn->owed += (uint64_t)length * BLOCK;
	if (conn->owed == (uint64_t)length * BLOCK)
		send_owed(fd);
}

static void received(int fd, const struct io_uring_cqe *cqe)
{
	struct connection *conn = &connections[fd];
	bool more = cqe->flags & IORING_CQE_F_MORE;
	int id = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	conn->receiving = more;
	if (cqe->res > 0 && !conn->broken)
		take(fd, id, (unsigned)cqe->res);
	else if (cqe->flags & IORING_CQE_F_BUFFER)
		give_buffer(&buffers, (unsigned)id);
	if (cqe->res == -ENOBUFS && !conn->broken) {
		conn->starved = true;
		starved[starved_count++] = fd;
	} else if (cqe->res > 0 && !more && !conn->broken) {
		receive(fd);
	} else if (!more) {
		end_if_idle(fd);
	}
}

/* Whatever is queued is dropped, and the receive is made to end. */
static void broke(int fd)
{
	struct connection *conn = &connections[fd];
	for (int id = conn->first; id != NONE; id = queued[id].next)
		give_buffer(&buffers, (unsigned)id);
	conn->first = NONE;
	conn->owed = 0;
	conn->broken = true;
	shutdown(fd, SHUT_RDWR);
	end_if_idle(fd);
}

static void sent(int fd, const struct io_uring_cqe *cqe)
{
	struct connection *conn = &connections[fd];
	int id = conn->first;
	if (cqe->res < 0) {
		broke(fd);
		return;
	}
	if (role == SOURCE) {
		conn->owed -= (uint64_t)cqe->res;
		if (conn->owed)
			send_owed(fd);
		else
			end_if_idle(fd);
		return;
	}
	queued[id].sent += (unsigned)cqe->res;
	if (queued[id].sent == queued[id].length) {
		conn->first = queued[id].next;
		give_buffer(&buffers, (unsigned)id);
	}
	if (conn->first != NONE)
		send_first(fd);
	else
		end_if_idle(fd);
}

static void dispatch(const struct io_uring_cqe *cqe)
{
	int fd = (int)(uint32_t)cqe->user_data;
	switch ((enum request)(cqe->user_data >> 32)) {
	case ACCEPT: accepted(fd, cqe); break;
	case RECEIVE: received(fd, cqe); break;
	case SEND: sent(fd, cqe); break;
	}
}

/* Those that found no buffer receive again, once there are some. */
static void feed_starved(void)
{
	while (starved_count > 0) {
		int fd = starved[--starved_count];
		connections[fd].starved = false;
		receive(fd);
	}
}

static void turn(void)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	int ret = io_uring_submit_and_wait(&ring, 1);
	if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
		errx(2, "io_uring_enter: %s", strerror(-ret));
	io_uring_for_each_cqe(&ring, head, cqe) {
		dispatch(cqe);
		count++;
	}
	io_uring_cq_advance(&ring, count);
	if (buffers.added) {
		tell_buffers(&buffers);
		feed_starved();
	}
}

static unsigned number(int argc, char **argv, int index, unsigned otherwise)
{
	int value = argc > index ? atoi(argv[index]) : (int)otherwise;
	if (value < 1 || value > 16 << 20 || (index == 2 && value > MOST_BUFFERS))
		errx(2, "BUFFERS is a power of two up to %d, BYTES at most 16 MiB", MOST_BUFFERS);
	return (unsigned)value;
}

int main(int argc, char **argv)
{
	role = role_of(argc, argv);
	open_ring(&ring, ENTRIES);
	open_buffers(&ring, &buffers, number(argc, argv, 2, 1024), number(argc, argv, 3, 16 * 1024));
	arm_accept(listen_and_say_where(0));
	for (;;)
		turn();
}
