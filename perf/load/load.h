/* load.h: what the files of the load generator share. One thread runs all of it. */
#ifndef PERF_LOAD_H
#define PERF_LOAD_H

#include "../histogram.h"
#include "../loopback.h"
#include "../rings.h"

#define SECOND 1000000000ull

enum { PATTERN_SLACK = 4096, GRACE = 10 };
enum phase { WARMING, COUNTING, DRAINING };

struct options {
	long port, connections, size, reply, pipeline, messages, watch, idle, rate;
	double warmup, seconds;
	const char *request;
	bool verify, udp, churn, broadcast;
};

/* What was so far at one moment. */
struct mark {
	uint64_t now, bytes;
	double own_cpu, watched_cpu;
};

/* What is measured; written by the conversations, read by the report. */
struct tally {
	uint64_t now;        /* taken once a turn */
	uint64_t bytes_back; /* of replies */
	uint64_t lost;       /* datagrams without an answer in time */
	uint64_t late;       /* open loop: due, and not answered when the counting ended */
	double idle_bytes;   /* of the server's memory, of each idle connection; below 0: unknown */
	enum phase phase;
	struct mark start, finish;
	struct histogram latencies;
};

extern struct options options;
extern struct tally tally;
extern struct io_uring ring;

/* phases.c: the clocks, and what is counted when. */
uint64_t clock_now(void);
void watch_process(void);
void start_warming(void);
void next_phase(void);
uint64_t messages_counted(const struct mark *until);
double private_bytes(long pid);

/* sockets.c: connections to the server. */
int new_socket(int type);
int connect_one(int type);
void open_idle(void);

/* message.c: the bytes that are sent, and room for those that come. */
struct message {
	char *bytes;      /* PATTERN_SLACK more than a batch, where a batch may begin anywhere */
	size_t out, back; /* of a batch */
};
extern struct message message;
void make_message(void);
unsigned power_of_two(size_t at_least, unsigned low, unsigned high);

/* turn.c: one system call, which submits what was prepared and waits; then the completions. */
void turn(uint64_t at_most_ns, void (*completed)(const struct io_uring_cqe *cqe));

/* converse.c, churn.c: the conversations. */
void converse(void);
void churn(void);

#endif
