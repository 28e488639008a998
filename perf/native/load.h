/* load.h: what the files of the load generator share: its options, its state, and what a mode is.
 *
 * One thread and one ring. A mode (echo, sink, ...) is three or four functions; load.c turns the
 * ring, counts time in phases and reports.
 */
#ifndef PERF_LOAD_H
#define PERF_LOAD_H

#define _GNU_SOURCE
#include "histogram.h"
#include "loopback.h"
#include "rings.h"

#include <time.h>

#define SECOND 1000000000ull

enum { MAX_WATCHED = 64, PATTERN_SLACK = 4096 };
enum request { RECEIVE, SEND };
enum phase { WARMING, COUNTING, DRAINING };

struct mode {
	const char *name;
	void (*begin)(void);
	void (*completed)(const struct io_uring_cqe *cqe); /* of a request that the mode made */
	void (*looked)(void);       /* once a turn, or NULL */
	bool (*is_quiet)(void);     /* is nothing under way any more? asked while draining */
	uint64_t (*next_due)(void); /* when `looked` wants to be called at the latest, or NULL */
};

struct options {
	const struct mode *mode;
	long port, connections, active, size, reply_size, pipeline, messages, window;
	double warmup, seconds, rate;
	bool udp, verify;
	const char *request, *reply; /* paths, or NULL: an echo of bytes that nobody can guess */
	int cpus[2];                 /* the load's and the server's, or -1 */
	int watched_count;
	long watched[MAX_WATCHED];
};

struct connection {
	int fd;
	bool busy;
	unsigned batches, late;
	size_t sent, received; /* of the batch */
	const char *bytes;     /* the batch */
	const char *expected;  /* what comes back, or NULL where anything may */
	uint64_t since;        /* when it was sent, or, in an open loop, should have been */
};

/* What was so far at one moment. `busy_cpu` is of everybody on the two CPUs. */
struct mark {
	uint64_t now, bytes, messages, lost;
	double own_cpu, watched_cpu, busy_cpu;
};

struct load {
	struct io_uring ring;
	struct buffers buffers;
	struct connection *connections;
	size_t batch_bytes, reply_bytes; /* of a batch, out and back */
	enum phase phase;
	uint64_t now, warm_at;
	uint64_t bytes, messages, lost; /* so far; modes count them */
	struct mark start, finish;
	struct histogram latencies, lateness;
	double line_ns[2]; /* between the two CPUs, before and after; 0: not known */
};

extern struct options options;
extern struct load load;
extern const struct mode echo_mode, sink_mode, source_mode, broadcast_mode, churn_mode;

/* options.c */
void read_options(int argc, char **argv);

/* marks.c */
uint64_t clock_now(void);
struct mark mark(void);
void report(void);

/* distance.c */
double line_ns(int here, int there);

/* messages.c */
void make_messages(void);
const char *batch_of(size_t connection, unsigned batch);
const char *replies_to(const char *batch);

/* connect.c */
void connect_all(void);
void receive_from_all(void);
void end_all(void);

static inline uint64_t tag(enum request what, size_t connection)
{
	return (uint64_t)what << 32 | (uint32_t)connection;
}

static inline struct connection *connection_of(const struct io_uring_cqe *cqe)
{
	return &load.connections[(uint32_t)cqe->user_data];
}

static inline bool is_send(const struct io_uring_cqe *cqe)
{
	return cqe->user_data >> 32 == SEND;
}

static inline void count_since(uint64_t since)
{
	if (load.phase == COUNTING)
		count_latency(&load.latencies, load.now > since ? load.now - since : 0);
}

#endif
