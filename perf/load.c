/* load.c: an echo load generator, made so that the server is the bottleneck and not it.
 *
 * One thread, a closed loop: each connection sends a batch of `pipeline` messages of `size` bytes
 * and sends the next one when all of it came back. After the warm-up it counts for `seconds`, or
 * until `messages` came back; then it waits for what is under way, so that the server sees an
 * orderly end, and prints one line of JSON. The only reader of the options is perf/, by name:
 *
 *     load --port N [--connections N] [--size N] [--pipeline N] [--warmup S] [--seconds S]
 *          [--messages N] [--watch PID] [--verify]
 *
 * `--watch` adds the CPU seconds that process used in the counted time. Exit status: 0 measured;
 * 1 a connection broke, wrong bytes came back, or nothing did; 2 it cannot run; 3 out of time.
 */
#define _GNU_SOURCE
#include "histogram.h"
#include "loopback.h"
#include "rings.h"

#include <getopt.h>
#include <sys/resource.h>
#include <time.h>

#define SECOND 1000000000ull

enum { PATTERN_SLACK = 4096, GRACE = 10 };
enum request { RECEIVE, SEND };
enum phase { WARMING, COUNTING, DRAINING };

static struct {
	long port, connections, size, pipeline, messages, watch;
	double warmup, seconds;
	bool verify;
} options = {.connections = 50, .size = 64, .pipeline = 1, .warmup = 0.3, .seconds = 2};

struct connection {
	int fd;
	bool busy;
	unsigned batches;
	size_t sent, received; /* of the batch */
	const char *bytes;     /* the batch */
	uint64_t since;        /* when it was sent */
};

/* What was so far at one moment. */
struct mark {
	uint64_t now, bytes;
	double own_cpu, watched_cpu;
};

static struct io_uring ring;
static struct buffers buffers;
static struct connection *connections;
static char *pattern; /* never changes: batches of several connections are sent from it */
static size_t batch_bytes;
static enum phase phase;
static uint64_t now, bytes_back, warm_at;
static long busy;
static clockid_t watched_clock;
static struct mark start, finish;
static struct histogram latencies;

/* Clocks */

static double clock_seconds(clockid_t clock)
{
	struct timespec t;
	if (clock_gettime(clock, &t) < 0)
		err(1, "the clock of the watched process");
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t clock_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static double own_cpu(void)
{
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static struct mark mark(void)
{
	double watched = options.watch ? clock_seconds(watched_clock) : 0;
	return (struct mark){clock_now(), bytes_back, own_cpu(), watched};
}

/* The conversation */

static uint64_t tag(enum request what, const struct connection *conn)
{
	return (uint64_t)what << 32 | (uint32_t)(conn - connections);
}

/* A send that ends in full is silent: its echo tells the same. */
static void submit_send(struct connection *conn)
{
	struct io_uring_sqe *sqe = next_sqe(&ring);
	io_uring_prep_send(sqe, conn->fd, conn->bytes + conn->sent, batch_bytes - conn->sent,
			   MSG_NOSIGNAL | MSG_WAITALL);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = tag(SEND, conn);
}

/* Each batch begins elsewhere in the pattern, so that bytes of another one do not verify. */
static void next_batch(struct connection *conn)
{
	size_t number = (size_t)(conn - connections);
	conn->bytes = pattern + (number * 61 + conn->batches++ * 17) % PATTERN_SLACK;
	conn->sent = conn->received = 0;
	conn->since = now;
	submit_send(conn);
}

static void batch_is_back(struct connection *conn)
{
	if (phase == COUNTING)
		count_latency(&latencies, now - conn->since);
	if (phase != DRAINING) {
		next_batch(conn);
		return;
	}
	conn->busy = false;
	busy--;
}

static void check_bytes(const struct connection *conn, const char *got, size_t n)
{
	if (!conn->busy || n > batch_bytes - conn->received)
		errx(1, "the server sent more bytes than it got");
	if (options.verify && memcmp(conn->bytes + conn->received, got, n))
		errx(1, "the server sent other bytes than it got");
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
	size_t n = (size_t)cqe->res;
	check_bytes(conn, buffer_at(&buffers, id), n);
	give_buffer(&buffers, id);
	bytes_back += n;
	conn->received += n;
	if (conn->received == batch_bytes)
		batch_is_back(conn);
}

/* Only what did not go out in full: a signal or a kernel that stops short in spite of WAITALL. */
static void sent_short(struct connection *conn, const struct io_uring_cqe *cqe)
{
	if (cqe->res < 0 && cqe->res != -EINTR && cqe->res != -EAGAIN)
		errx(1, "a connection broke: send: %s", strerror(-cqe->res));
	conn->sent += cqe->res < 0 ? 0 : (size_t)cqe->res;
	if (conn->sent < batch_bytes)
		submit_send(conn);
}

static void reap(void)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	io_uring_for_each_cqe(&ring, head, cqe) {
		struct connection *conn = &connections[(uint32_t)cqe->user_data];
		if (cqe->user_data >> 32 == SEND)
			sent_short(conn, cqe);
		else
			received(conn, cqe);
		count++;
	}
	io_uring_cq_advance(&ring, count);
	tell_buffers(&buffers);
}

/* One system call: submits what was prepared, and waits for something to come back. */
static void turn(void)
{
	struct io_uring_cqe *cqe;
	struct __kernel_timespec tick = {.tv_nsec = SECOND / 100};
	int ret = io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &tick, NULL);
	if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
		errx(2, "io_uring_enter: %s", strerror(-ret));
	now = clock_now();
	reap();
}

/* Phases */

static uint64_t messages_counted(const struct mark *until)
{
	return (until->bytes - start.bytes) / (uint64_t)options.size;
}

static bool counted_enough(void)
{
	uint64_t wanted = (uint64_t)options.messages * (uint64_t)options.size;
	if (options.messages && bytes_back - start.bytes >= wanted)
		return true;
	return now - start.now >= (uint64_t)(options.seconds * 1e9);
}

static void next_phase(void)
{
	if (phase == WARMING && now >= warm_at) {
		start = mark();
		phase = COUNTING;
	} else if (phase == COUNTING && counted_enough()) {
		finish = mark();
		phase = DRAINING;
	}
}

static void converse(void)
{
	now = clock_now();
	warm_at = now + (uint64_t)(options.warmup * 1e9);
	for (long i = 0; i < options.connections; i++) {
		arm_receive(&ring, connections[i].fd, tag(RECEIVE, &connections[i]));
		connections[i].busy = true;
		next_batch(&connections[i]);
	}
	busy = options.connections;
	while (phase != DRAINING || busy) {
		next_phase();
		turn();
	}
	for (long i = 0; i < options.connections; i++)
		shutdown(connections[i].fd, SHUT_RDWR);
}

/* Preparation */

static void connect_all(void)
{
	struct sockaddr_in server = loopback((int)options.port);
	connections = calloc((size_t)options.connections, sizeof *connections);
	if (!connections)
		err(2, "calloc");
	for (long i = 0; i < options.connections; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			err(2, "socket");
		set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
		if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0)
			err(1, "cannot connect to 127.0.0.1:%ld", options.port);
		connections[i].fd = fd;
	}
}

static void make_pattern(void)
{
	uint64_t state = 0x9e3779b97f4a7c15;
	batch_bytes = (size_t)options.size * (size_t)options.pipeline;
	pattern = aligned(batch_bytes + PATTERN_SLACK);
	for (size_t i = 0; i < batch_bytes + PATTERN_SLACK; i++) {
		state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift64 */
		pattern[i] = (char)(state >> 56);
	}
}

static unsigned power_of_two(size_t at_least, unsigned low, unsigned high)
{
	while (low < at_least && low < high)
		low *= 2;
	return low;
}

static void out_of_time(int signal_number)
{
	static const char text[] = "load: out of time: the server does not answer\n";
	(void)signal_number;
	if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
		_exit(2);
	_exit(3);
}

static void prepare(void)
{
	unsigned many = (unsigned)options.connections;
	signal(SIGALRM, out_of_time);
	alarm((unsigned)(options.warmup + options.seconds) + GRACE);
	if (options.watch && clock_getcpuclockid((pid_t)options.watch, &watched_clock))
		errx(2, "there is no process %ld to watch", options.watch);
	make_pattern();
	open_ring(&ring, power_of_two(2 * many, 64, 4096));
	open_buffers(&ring, &buffers, power_of_two(2 * many, 64, 4096),
		     power_of_two(batch_bytes, 256, 64 * 1024));
	connect_all();
}

static long whole(const char *name, const char *text, long low, long high)
{
	char *end;
	long value = strtol(text, &end, 10);
	if (end == text || *end || value < low || value > high)
		errx(2, "--%s is a whole number from %ld to %ld, not %s", name, low, high, text);
	return value;
}

static double seconds(const char *name, const char *text, double high)
{
	char *end;
	double value = strtod(text, &end);
	if (end == text || *end || !(value >= 0 && value <= high))
		errx(2, "--%s is a number of seconds from 0 to %g, not %s", name, high, text);
	return value;
}

static void read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"port", 1, NULL, 'p'},     {"connections", 1, NULL, 'c'},
		{"size", 1, NULL, 's'},     {"pipeline", 1, NULL, 'P'},
		{"warmup", 1, NULL, 'w'},   {"seconds", 1, NULL, 't'},
		{"messages", 1, NULL, 'm'}, {"watch", 1, NULL, 'W'},
		{"verify", 0, NULL, 'v'},   {0},
	};
	for (int c, i = 0; (c = getopt_long(argc, argv, "", known, &i)) != -1;) {
		const char *name = known[i].name;
		switch (c) {
		case 'p': options.port = whole(name, optarg, 1, 65535); break;
		case 'c': options.connections = whole(name, optarg, 1, 10000); break;
		case 's': options.size = whole(name, optarg, 1, 16 << 20); break;
		case 'P': options.pipeline = whole(name, optarg, 1, 1024); break;
		case 'm': options.messages = whole(name, optarg, 1, 1L << 40); break;
		case 'W': options.watch = whole(name, optarg, 1, 1L << 30); break;
		case 'w': options.warmup = seconds(name, optarg, 60); break;
		case 't': options.seconds = seconds(name, optarg, 600); break;
		case 'v': options.verify = true; break;
		default: exit(2);
		}
	}
	if (!options.port || optind < argc)
		errx(2, "usage: --port N and the options at the top of load.c");
	if (options.size * options.pipeline > 64 << 20)
		errx(2, "--size times --pipeline is at most 64 MiB");
}

static void report(void)
{
	uint64_t messages = messages_counted(&finish);
	double took = (double)(finish.now - start.now) / 1e9;
	if (!messages)
		errx(1, "nothing came back in %.2f s", took);
	if (messages < (uint64_t)options.messages)
		errx(1, "only %llu messages came back in %.2f s", (unsigned long long)messages, took);
	printf("{\"messages\": %llu, \"bytes\": %llu, \"seconds\": %.6f, "
	       "\"messages_per_second\": %.1f, \"load_cpu_seconds\": %.6f, "
	       "\"server_cpu_seconds\": %.9f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
	       (unsigned long long)messages, (unsigned long long)(finish.bytes - start.bytes),
	       took, (double)messages / took, finish.own_cpu - start.own_cpu,
	       finish.watched_cpu - start.watched_cpu, percentile_us(&latencies, 0.50),
	       percentile_us(&latencies, 0.99));
}

int main(int argc, char **argv)
{
	read_options(argc, argv);
	prepare();
	converse();
	report();
}
