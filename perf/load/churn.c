/* churn.c: connect, send a message, get it back, close; and again, `connections` at a time.
 *
 * Connect, send and receive are one linked chain, of which only the end or what fails is heard.
 * Who closes first keeps the pair of ports for a minute, and that is us: sources of several
 * loopback addresses keep the ports from running out.
 */
#define _GNU_SOURCE
#include "load.h"

enum { SOURCES = 64 };
enum step { CONNECT, SEND, RECEIVE, CLOSE };

struct visit {
	int fd;
	uint64_t since;
	char *answer;
};

static struct visit *visits;
static struct sockaddr_in server;
static long open_visits;

static uint64_t tag(enum step what, const struct visit *visit)
{
	return (uint64_t)what << 32 | (uint32_t)(visit - visits);
}

static struct io_uring_sqe *step(const struct visit *visit, enum step what, unsigned flags)
{
	struct io_uring_sqe *sqe = next_sqe(&ring);
	switch (what) {
	case CONNECT:
		io_uring_prep_connect(sqe, visit->fd, (struct sockaddr *)&server, sizeof server);
		break;
	case SEND:
		io_uring_prep_send(sqe, visit->fd, message.bytes, message.out,
				   MSG_NOSIGNAL | MSG_WAITALL);
		break;
	case RECEIVE:
		io_uring_prep_recv(sqe, visit->fd, visit->answer, message.back, MSG_WAITALL);
		break;
	case CLOSE: io_uring_prep_close(sqe, visit->fd); break;
	}
	sqe->flags |= flags;
	sqe->user_data = tag(what, visit);
	return sqe;
}

static int socket_from_elsewhere(void)
{
	static uint32_t number;
	struct sockaddr_in source = loopback(0);
	int fd = new_socket(SOCK_STREAM);
	source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number++ % SOURCES);
	set_flag(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
	if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
		err(2, "bind to an address of the loopback");
	return fd;
}

static void begin(struct visit *visit)
{
	unsigned silent = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
	visit->fd = socket_from_elsewhere();
	visit->since = tally.now;
	if (io_uring_sq_space_left(&ring) < 4)
		io_uring_submit(&ring); /* a chain has to be submitted whole */
	step(visit, CONNECT, silent);
	step(visit, SEND, silent);
	step(visit, RECEIVE, 0);
}

static void completed(const struct io_uring_cqe *cqe)
{
	static const char *const names[] = {"connect", "send", "recv", "close"};
	struct visit *visit = &visits[(uint32_t)cqe->user_data];
	enum step what = (enum step)(cqe->user_data >> 32);
	if (what != RECEIVE || cqe->res < 0)
		errx(1, "%s: %s", names[what], strerror(cqe->res < 0 ? -cqe->res : EPROTO));
	if ((size_t)cqe->res != message.back)
		errx(1, "the server closed a connection before its answer");
	if (options.verify && memcmp(visit->answer, message.bytes, message.back))
		errx(1, "the server sent other bytes than it got");
	tally.bytes_back += message.back;
	if (tally.phase == COUNTING)
		count_latency(&tally.latencies, tally.now - visit->since);
	step(visit, CLOSE, IOSQE_CQE_SKIP_SUCCESS);
	if (tally.phase != DRAINING)
		begin(visit);
	else
		open_visits--;
}

void churn(void)
{
	size_t many = (size_t)options.connections;
	server = loopback((int)options.port);
	visits = calloc(many, sizeof *visits);
	if (!visits)
		err(2, "calloc");
	open_ring(&ring, power_of_two(4 * many, 64, 4096));
	start_warming();
	for (size_t i = 0; i < many; i++) {
		visits[i].answer = aligned(message.back);
		begin(&visits[i]);
		open_visits++;
	}
	while (tally.phase != DRAINING || open_visits) {
		next_phase();
		turn(SECOND / 100, completed);
	}
	io_uring_submit(&ring);
}
