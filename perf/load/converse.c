/* converse.c: connections that stay open: each sends a batch, and the replies to it come back.
 *
 * Closed loop: the next batch goes when all of the last came back. Open loop: batches are due at a
 * fixed rate, turn about; one whose connection is busy waits, and its time counts from when it was
 * due, so that a server that stalls cannot hide what it kept waiting. Broadcast: the first speaks,
 * and what it says comes back on all.
 */
#define _GNU_SOURCE
#include "load.h"

enum { TICK = SECOND / 100, LOST_AFTER = SECOND / 5 };
enum request { RECEIVE, SEND };

struct connection {
	int fd;
	bool busy;
	unsigned batches;
	size_t sent, received; /* of the batch */
	const char *bytes;     /* the batch */
	uint64_t since;        /* when it was sent, or due */
	uint64_t due, taken;   /* open loop: batches so far */
};

static struct buffers buffers;
static struct connection *connections;
static long busy, heard; /* connections in a conversation; broadcast: those that got it all */
static uint64_t first_due, scheduled;
static double interval; /* between batches that are due, in ns */

static uint64_t tag(enum request what, const struct connection *conn)
{
	return (uint64_t)what << 32 | (uint32_t)(conn - connections);
}

/* A send that ends in full is silent: its reply tells the same. */
static void submit_send(struct connection *conn)
{
	struct io_uring_sqe *sqe = next_sqe(&ring);
	io_uring_prep_send(sqe, conn->fd, conn->bytes + conn->sent, message.out - conn->sent,
			   MSG_NOSIGNAL | MSG_WAITALL);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = tag(SEND, conn);
}

/* Each batch begins elsewhere in the pattern, so that bytes of another one do not verify. */
static void next_batch(struct connection *conn, uint64_t since)
{
	size_t number = (size_t)(conn - connections);
	size_t offset = (number * 61 + conn->batches++ * 17) % PATTERN_SLACK;
	conn->bytes = message.bytes + (options.request ? 0 : offset);
	conn->sent = conn->received = 0;
	conn->since = since;
	conn->busy = true;
	submit_send(conn);
}

/* The open loop */

static uint64_t due_at(uint64_t number)
{
	return first_due + (uint64_t)((double)number * interval);
}

static void take_due(struct connection *conn)
{
	uint64_t number = conn->taken++ * (uint64_t)options.connections +
			  (uint64_t)(conn - connections);
	busy += !conn->busy;
	next_batch(conn, due_at(number));
}

static void schedule(void)
{
	while (tally.phase != DRAINING && due_at(scheduled) <= tally.now) {
		struct connection *conn = &connections[scheduled++ % (uint64_t)options.connections];
		conn->due++;
		if (!conn->busy)
			take_due(conn);
	}
}

/* What is due and not back when the counting ends has taken at least so long. Left out, the
 * slowest would be missing. */
static void count_unfinished(void)
{
	for (long i = 0; i < options.connections; i++) {
		struct connection *conn = &connections[i];
		uint64_t first = conn->taken - (conn->busy && conn->taken ? 1 : 0);
		for (uint64_t n = first; n < conn->due; n++) {
			uint64_t number = n * (uint64_t)options.connections + (uint64_t)i;
			count_latency(&tally.latencies, tally.now - due_at(number));
			tally.late++;
		}
	}
}

/* Replies */

static void batch_is_back(struct connection *conn)
{
	if (tally.phase == COUNTING)
		count_latency(&tally.latencies, tally.now - conn->since);
	if (tally.phase != DRAINING && !options.rate) {
		next_batch(conn, tally.now);
	} else if (tally.phase != DRAINING && conn->due > conn->taken) {
		take_due(conn);
	} else {
		conn->busy = false;
		busy--;
	}
}

static void heard_by(const struct connection *conn)
{
	if (conn->received < message.back || ++heard < options.connections)
		return;
	heard = 0;
	for (long i = 1; i < options.connections; i++)
		connections[i].received = 0;
	batch_is_back(&connections[0]);
}

static void check_bytes(const struct connection *conn, const char *got, size_t n)
{
	const struct connection *speaker = options.broadcast ? connections : conn;
	if (!speaker->busy || n > message.back - conn->received)
		errx(1, "the server sent more bytes than it should");
	if (options.verify && memcmp(speaker->bytes + conn->received, got, n))
		errx(1, "the server sent other bytes than it got");
}

static void got_bytes(struct connection *conn, const char *got, size_t n)
{
	if (options.udp && !conn->busy)
		return; /* the answer to one that was thought lost */
	check_bytes(conn, got, n);
	tally.bytes_back += n;
	conn->received += n;
	if (options.broadcast)
		heard_by(conn);
	else if (conn->received == message.back)
		batch_is_back(conn);
}

static void received(struct connection *conn, const struct io_uring_cqe *cqe)
{
	if (cqe->res == 0)
		errx(1, "the server closed a connection");
	if (cqe->res < 0 && cqe->res != -ENOBUFS)
		errx(1, "a connection broke: recv: %s", strerror(-cqe->res));
	if (!(cqe->flags & IORING_CQE_F_MORE))
		arm_receive(&ring, conn->fd, tag(RECEIVE, conn));
	if (cqe->res < 0)
		return; /* every buffer is in this very batch of completions, and goes back in it */
	unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	got_bytes(conn, buffer_at(&buffers, id), (size_t)cqe->res);
	give_buffer(&buffers, id);
}

/* Only what did not go out in full: a signal or a kernel that stops short in spite of WAITALL. */
static void sent_short(struct connection *conn, const struct io_uring_cqe *cqe)
{
	if (cqe->res < 0 && cqe->res != -EINTR && cqe->res != -EAGAIN)
		errx(1, "a connection broke: send: %s", strerror(-cqe->res));
	conn->sent += cqe->res < 0 ? 0 : (size_t)cqe->res;
	if (conn->sent < message.out)
		submit_send(conn);
}

static void completed(const struct io_uring_cqe *cqe)
{
	struct connection *conn = &connections[(uint32_t)cqe->user_data];
	if (cqe->user_data >> 32 == SEND)
		sent_short(conn, cqe);
	else
		received(conn, cqe);
}

static void resend_lost(void)
{
	static uint64_t last;
	if (!options.udp || tally.now - last < TICK)
		return;
	last = tally.now;
	for (long i = 0; i < options.connections; i++) {
		struct connection *conn = &connections[i];
		if (!conn->busy || tally.now - conn->since < LOST_AFTER)
			continue;
		tally.lost += tally.phase == COUNTING;
		conn->received = message.back; /* as if it were back, only not counted */
		conn->busy = tally.phase != DRAINING;
		if (conn->busy)
			next_batch(conn, tally.now);
		else
			busy--;
	}
}

/* All of it */

static void await_greeting(int fd)
{
	char byte;
	if (recv(fd, &byte, 1, MSG_WAITALL) != 1)
		errx(1, "a connection was not greeted");
}

static void connect_all(void)
{
	connections = calloc((size_t)options.connections, sizeof *connections);
	if (!connections)
		err(2, "calloc");
	for (long i = 0; i < options.connections; i++) {
		connections[i].fd = connect_one(options.udp ? SOCK_DGRAM : SOCK_STREAM);
		if (options.broadcast)
			await_greeting(connections[i].fd);
	}
}

static void begin(void)
{
	long speakers = options.broadcast ? 1 : options.connections;
	for (long i = 0; i < options.connections; i++)
		arm_receive(&ring, connections[i].fd, tag(RECEIVE, &connections[i]));
	start_warming();
	first_due = tally.now;
	interval = options.rate ? 1e9 / (double)options.rate : 0;
	for (long i = 0; i < speakers && !options.rate; i++) {
		next_batch(&connections[i], tally.now);
		busy++;
	}
}

static uint64_t patience(void)
{
	uint64_t next = options.rate && tally.phase != DRAINING ? due_at(scheduled) : 0;
	uint64_t now = clock_now();
	if (!next || next > now + TICK)
		return TICK;
	return next > now ? next - now : 0;
}

void converse(void)
{
	unsigned many = power_of_two(2 * (size_t)options.connections, 64, 4096);
	open_ring(&ring, many);
	open_buffers(&ring, &buffers, many, power_of_two(message.back, 256, 64 * 1024));
	connect_all();
	begin();
	while (tally.phase != DRAINING || busy) {
		enum phase before = tally.phase;
		next_phase();
		if (tally.phase == DRAINING && before == COUNTING && options.rate)
			count_unfinished();
		if (options.rate)
			schedule();
		turn(patience(), completed);
		tell_buffers(&buffers);
		resend_lost();
	}
	for (long i = 0; i < options.connections; i++)
		shutdown(connections[i].fd, SHUT_RDWR);
}
