/* echo.c: batches of messages that come back, or are answered.
 *
 * A closed loop: each connection sends its next batch when the last one came back. Or an open one,
 * with `--rate`: the k-th message is due at a fixed time, on connection k modulo their number. A
 * connection that is still busy then sends it late, and its latency counts from when it was due,
 * so that a server that stalls cannot hide it (what wrk2 does).
 */
#include "load.h"

#define PATIENCE (SECOND / 4) /* then a datagram counts as lost */

static long busy;
static uint64_t began, released; /* the open loop's: when, and how many messages were due so far */
static uint64_t searched_at;     /* when lost datagrams were last looked for */

/* A send that ends in full is silent: what it brings back tells the same. */
static void submit_send(struct connection *conn)
{
	struct io_uring_sqe *sqe = next_sqe(&load.ring);
	io_uring_prep_send(sqe, conn->fd, conn->bytes + conn->sent, load.batch_bytes - conn->sent,
			   MSG_NOSIGNAL | (options.udp ? 0 : MSG_WAITALL));
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = tag(SEND, (size_t)(conn - load.connections));
}

static void send_batch(struct connection *conn, uint64_t since)
{
	conn->bytes = batch_of((size_t)(conn - load.connections), conn->batches++);
	conn->expected = options.verify ? replies_to(conn->bytes) : NULL;
	conn->sent = conn->received = 0;
	conn->since = since;
	if (!conn->busy)
		busy++;
	conn->busy = true;
	submit_send(conn);
}

static uint64_t due(uint64_t message)
{
	return began + (uint64_t)((double)message * 1e9 / options.rate);
}

/* Each connection's messages are due at equal distances. */
static uint64_t period(void)
{
	return (uint64_t)((double)options.active * 1e9 / options.rate);
}

static void batch_is_back(struct connection *conn)
{
	uint64_t since = conn->since;
	load.messages += (uint64_t)options.pipeline;
	count_since(since);
	if (load.phase != DRAINING && !options.rate) {
		send_batch(conn, load.now);
	} else if (load.phase != DRAINING && conn->late) {
		conn->late--;
		send_batch(conn, since + period());
	} else {
		conn->busy = false;
		busy--;
	}
}

static void check_bytes(const struct connection *conn, const char *got, size_t n)
{
	if (!conn->busy || n > load.reply_bytes - conn->received)
		errx(1, "the server sent more bytes than it should");
	if (conn->expected && memcmp(conn->expected + conn->received, got, n))
		errx(1, "the server sent other bytes than it should");
}

static void take_bytes(struct connection *conn, const char *got, size_t n)
{
	if (options.udp && (!conn->busy || n != load.reply_bytes))
		return; /* the answer to one that was given up */
	check_bytes(conn, got, n);
	load.bytes += n;
	conn->received += n;
	if (conn->received == load.reply_bytes)
		batch_is_back(conn);
}

static void received(struct connection *conn, const struct io_uring_cqe *cqe)
{
	if (cqe->res == 0)
		errx(1, "the server closed a connection");
	if (cqe->res < 0 && cqe->res != -ENOBUFS)
		errx(1, "a connection broke: recv: %s", strerror(-cqe->res));
	if (!(cqe->flags & IORING_CQE_F_MORE))
		arm_receive(&load.ring, conn->fd, cqe->user_data, options.verify ? 0 : MSG_TRUNC);
	if (cqe->res < 0)
		return; /* every buffer is in this very batch of completions, and goes back in it */
	unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	take_bytes(conn, buffer_at(&load.buffers, id), (size_t)cqe->res);
	give_buffer(&load.buffers, id);
}

/* Only what did not go out in full: a signal or a kernel that stops short in spite of WAITALL. */
static void sent_short(struct connection *conn, const struct io_uring_cqe *cqe)
{
	if (cqe->res < 0 && cqe->res != -EINTR && cqe->res != -EAGAIN)
		errx(1, "a connection broke: send: %s", strerror(-cqe->res));
	conn->sent += cqe->res < 0 ? 0 : (size_t)cqe->res;
	if (conn->sent < load.batch_bytes)
		submit_send(conn);
}

static void completed(const struct io_uring_cqe *cqe)
{
	if (is_send(cqe))
		sent_short(connection_of(cqe), cqe);
	else
		received(connection_of(cqe), cqe);
}

static void begin(void)
{
	receive_from_all();
	began = searched_at = load.now;
	for (long i = 0; i < options.active && !options.rate; i++)
		send_batch(&load.connections[i], load.now);
}

/* What is due now goes out, or waits for its connection. */
static void release(void)
{
	for (uint64_t at; load.phase != DRAINING && (at = due(released)) <= load.now; released++) {
		struct connection *conn = &load.connections[released % (uint64_t)options.active];
		if (conn->busy) {
			conn->late++;
			continue;
		}
		if (load.phase == COUNTING)
			count_latency(&load.lateness, load.now - at);
		send_batch(conn, at);
	}
}

static void give_up_lost(void)
{
	searched_at = load.now;
	for (long i = 0; i < options.active; i++) {
		struct connection *conn = &load.connections[i];
		if (!conn->busy || load.now < conn->since + PATIENCE)
			continue;
		load.lost++;
		if (load.phase != DRAINING) {
			send_batch(conn, load.now);
			continue;
		}
		conn->busy = false;
		busy--;
	}
}

static void looked(void)
{
	if (options.rate)
		release();
	if (options.udp && load.now > searched_at + PATIENCE / 2)
		give_up_lost();
}

static uint64_t next_due(void)
{
	return options.rate && load.phase != DRAINING ? due(released) : UINT64_MAX;
}

static bool is_quiet(void)
{
	return busy == 0;
}

const struct mode echo_mode = {
	.name = "echo",
	.begin = begin,
	.completed = completed,
	.looked = looked,
	.is_quiet = is_quiet,
	.next_due = next_due,
};
