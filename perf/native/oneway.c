/* oneway.c: bytes from the server only: out of a source, or one message to everybody.
 *
 * A source answers each byte with a block of `--reply-size`; a connection asks for `--window`
 * blocks ahead, so that the server always has something to send and never more than that. In a
 * broadcast the connection that came last sends a message when all have the one before: servers
 * accept in order, so a connection that has read its first message knows all the others.
 */
#include "load.h"

static char *message;    /* what everybody gets */
static uint64_t awaited; /* bytes that the server still owes */
static uint64_t sent_at; /* the broadcast's last message */

static void put(struct connection *conn, const char *bytes, size_t n)
{
	struct io_uring_sqe *sqe = next_sqe(&load.ring);
	io_uring_prep_send(sqe, conn->fd, bytes, n, MSG_NOSIGNAL | MSG_WAITALL);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = tag(SEND, (size_t)(conn - load.connections));
}

static void check(const struct io_uring_cqe *cqe, const char *what)
{
	if (cqe->res == 0)
		errx(1, "the server closed a connection");
	if (cqe->res < 0)
		errx(1, "a connection broke: %s: %s", what, strerror(-cqe->res));
}

/* Bytes that arrived; where no buffer was free, none, and receiving goes on. */
static size_t taken(const struct io_uring_cqe *cqe)
{
	if (cqe->res != -ENOBUFS)
		check(cqe, "recv");
	if (!(cqe->flags & IORING_CQE_F_MORE))
		arm_receive(&load.ring, connection_of(cqe)->fd, cqe->user_data, MSG_TRUNC);
	if (cqe->res < 0)
		return 0;
	give_buffer(&load.buffers, cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	load.bytes += (uint64_t)cqe->res;
	return (size_t)cqe->res;
}

/* Source */

static void source_begin(void)
{
	static const char credits[1024];
	receive_from_all();
	for (long i = 0; i < options.connections; i++) {
		load.connections[i].since = load.now;
		put(&load.connections[i], credits, (size_t)options.window);
		awaited += (uint64_t)(options.window * options.reply_size);
	}
}

static void source_completed(const struct io_uring_cqe *cqe)
{
	static const char credits[1024];
	struct connection *conn = connection_of(cqe);
	if (is_send(cqe)) {
		check(cqe, "send");
		return;
	}
	size_t got = taken(cqe), size = (size_t)options.reply_size;
	if (got > awaited)
		errx(1, "the server sent more bytes than it should");
	awaited -= got;
	conn->received += got;
	size_t blocks = conn->received / size;
	conn->received %= size;
	load.messages += blocks;
	if (!blocks || load.phase == DRAINING)
		return;
	awaited += blocks * size;
	put(conn, credits, blocks);
}

static bool nothing_is_awaited(void)
{
	return awaited == 0;
}

const struct mode source_mode = {
	.name = "source",
	.begin = source_begin,
	.completed = source_completed,
	.is_quiet = nothing_is_awaited,
};

/* Broadcast */

static void send_to_all(void)
{
	awaited = (uint64_t)(options.connections * options.size);
	sent_at = load.now;
	put(&load.connections[options.connections - 1], message, (size_t)options.size);
}

static void broadcast_begin(void)
{
	receive_from_all();
	message = aligned((size_t)options.size);
	send_to_all();
}

static void broadcast_completed(const struct io_uring_cqe *cqe)
{
	if (is_send(cqe)) {
		check(cqe, "send");
		return;
	}
	size_t got = taken(cqe);
	if (got > awaited)
		errx(1, "the server sent more bytes than it should");
	awaited -= got;
	load.messages = load.bytes / (uint64_t)options.size;
	if (awaited)
		return;
	count_since(sent_at);
	if (load.phase != DRAINING)
		send_to_all();
}

const struct mode broadcast_mode = {
	.name = "broadcast",
	.begin = broadcast_begin,
	.completed = broadcast_completed,
	.is_quiet = nothing_is_awaited,
};
