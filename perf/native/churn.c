/* churn.c: connections that live for one message: connect, send, receive the echo, close.
 *
 * `--connections` of them are under way at any time. The three steps are one linked chain, of which
 * only the last, or the one that failed, is heard of. A source address of 127/8 has 28,000 ports,
 * and each stays in TIME-WAIT for a minute: so the source address moves on from one to the next.
 */
#include "load.h"

#include <netinet/in.h>

enum { SOURCES = 250 * 250 };

static struct sockaddr_in server;
static unsigned sources;
static long under_way;
static char *echoes; /* what comes back: `size` bytes for each connection */

static int new_socket(void)
{
	struct sockaddr_in source = {.sin_family = AF_INET};
	unsigned n = sources++ % SOURCES;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(2, "socket");
	set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
	set_flag(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
	source.sin_addr.s_addr = htonl(0x7f010000 | (n / 250 + 1) << 8 | (n % 250 + 1));
	if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
		err(2, "bind");
	return fd;
}

static void start(struct connection *conn)
{
	size_t number = (size_t)(conn - load.connections), size = (size_t)options.size;
	const uint8_t silent = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
	if (io_uring_sq_space_left(&load.ring) < 3)
		io_uring_submit(&load.ring); /* a chain is submitted in one */
	conn->fd = new_socket();
	conn->since = load.now;
	conn->bytes = batch_of(number, conn->batches++);
	struct io_uring_sqe *sqe = next_sqe(&load.ring);
	io_uring_prep_connect(sqe, conn->fd, (struct sockaddr *)&server, sizeof server);
	sqe->flags |= silent;
	sqe->user_data = tag(SEND, number);
	sqe = next_sqe(&load.ring);
	io_uring_prep_send(sqe, conn->fd, conn->bytes, size, MSG_NOSIGNAL | MSG_WAITALL);
	sqe->flags |= silent;
	sqe->user_data = tag(SEND, number);
	sqe = next_sqe(&load.ring);
	io_uring_prep_recv(sqe, conn->fd, echoes + number * size, size, MSG_WAITALL);
	sqe->user_data = tag(RECEIVE, number);
}

static void begin(void)
{
	server = loopback((int)options.port);
	echoes = aligned((size_t)(options.connections * options.size));
	load.connections = calloc((size_t)options.connections, sizeof *load.connections);
	if (!load.connections)
		err(2, "calloc");
	under_way = options.connections;
	for (long i = 0; i < options.connections; i++)
		start(&load.connections[i]);
}

static void completed(const struct io_uring_cqe *cqe)
{
	struct connection *conn = connection_of(cqe);
	size_t size = (size_t)options.size;
	const char *echo = echoes + (size_t)(conn - load.connections) * size;
	if (is_send(cqe))
		errx(1, "cannot connect or send: %s", strerror(-cqe->res));
	if (cqe->res != (int)size)
		errx(1, "no echo: %s", cqe->res < 0 ? strerror(-cqe->res) : "too few bytes");
	if (options.verify && memcmp(conn->bytes, echo, size))
		errx(1, "the server sent other bytes than it should");
	close(conn->fd);
	load.messages++;
	load.bytes += size;
	count_since(conn->since);
	if (load.phase == DRAINING)
		under_way--;
	else
		start(conn);
}

static bool is_quiet(void)
{
	return under_way == 0;
}

const struct mode churn_mode = {
	.name = "churn",
	.begin = begin,
	.completed = completed,
	.is_quiet = is_quiet,
};
