/* handover.c: what it costs to wake another ring: eventfd(2) or IORING_OP_MSG_RING.
 *
 * Two threads, each with a ring as a reactor has it, hand a token to and fro. Prints for each way
 * the nanoseconds of a hand-over, and the CPU time of both threads for it.
 */
#include <liburing.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

enum { ROUNDS = 100000, TAG_WAKE = 1, TAG_OWN = 2 };

struct end {
	struct io_uring ring;
	int event;
	uint64_t value;
	struct end *other;
	int rounds;
	int by_message;
	int begins;
	pthread_barrier_t *ready;
};

static int64_t now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void arm(struct end *end)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&end->ring);
	io_uring_prep_read(sqe, end->event, &end->value, sizeof end->value, 0);
	sqe->user_data = TAG_WAKE;
}

static void hand_over(struct end *end)
{
	if (!end->by_message) {
		eventfd_write(end->other->event, 1);
		return;
	}
	struct io_uring_sqe *sqe = io_uring_get_sqe(&end->ring);
	io_uring_prep_msg_ring(sqe, end->other->ring.ring_fd, 0, TAG_WAKE, 0);
	sqe->user_data = TAG_OWN;
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void wait_for_token(struct end *end)
{
	for (;;) {
		struct io_uring_cqe *cqe;
		if (io_uring_submit_and_wait(&end->ring, 1) < 0 ||
		    io_uring_peek_cqe(&end->ring, &cqe) < 0)
			continue;
		uint64_t tag = cqe->user_data;
		if (cqe->res < 0) {
			fprintf(stderr, "handover: %s\n", strerror(-cqe->res));
			exit(1);
		}
		io_uring_cqe_seen(&end->ring, cqe);
		if (tag == TAG_WAKE)
			return;
	}
}

static void *run(void *argument)
{
	struct end *end = argument;
	unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	if (io_uring_queue_init(64, &end->ring, flags) < 0)
		exit(1);
	if (!end->by_message) {
		arm(end);
		io_uring_submit(&end->ring);
	}
	pthread_barrier_wait(end->ready);
	if (end->begins)
		hand_over(end);
	for (int i = 0; i < end->rounds; i++) {
		wait_for_token(end);
		if (!end->by_message)
			arm(end);
		hand_over(end);
	}
	if (end->by_message)
		io_uring_submit(&end->ring);
	pthread_barrier_wait(end->ready);
	io_uring_queue_exit(&end->ring);
	return NULL;
}

static void measure(int by_message)
{
	pthread_barrier_t ready;
	pthread_t threads[2];
	struct end ends[2];
	memset(ends, 0, sizeof ends);
	pthread_barrier_init(&ready, NULL, 2);
	for (int i = 0; i < 2; i++) {
		ends[i].event = eventfd(0, EFD_CLOEXEC);
		ends[i].other = &ends[!i];
		ends[i].rounds = ROUNDS;
		ends[i].by_message = by_message;
		ends[i].begins = !i;
		ends[i].ready = &ready;
	}
	int64_t began = now(CLOCK_MONOTONIC), used = now(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, run, &ends[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("%-8s %6.0f ns  %6.0f ns of CPU\n", by_message ? "msg_ring" : "eventfd",
	       (now(CLOCK_MONOTONIC) - began) / (2.0 * ROUNDS),
	       (now(CLOCK_PROCESS_CPUTIME_ID) - used) / (2.0 * ROUNDS));
}

int main(void)
{
	for (int run = 0; run < 5; run++) {
		measure(0);
		measure(1);
	}
	return 0;
}
