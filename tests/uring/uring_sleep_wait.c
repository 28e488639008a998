/* uring_sleep_wait.c: the C core waits for its ring in nanosleep(2), and not in io_uring_enter(2).
 *
 * For valgrind, which lets one thread run at a time and takes io_uring_enter for a call that never
 * waits (as of 3.19): no other thread would run for as long as a reactor waits. The linker puts this
 * between the core and liburing (`-Wl,--wrap`, see valgrind.sh). What the core sees is the same: at
 * least one completion, or -ETIME. (poll(2) of the ring would not do: with DEFER_TASKRUN it is not
 * told of work that only the thread itself can complete.)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <time.h>

#define STEP_NS 1000000

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
					    unsigned count, struct __kernel_timespec *timeout,
					    sigset_t *mask)
{
	static const struct timespec step = {0, STEP_NS};
	int64_t end = timeout ? now_ns() + timeout->tv_sec * 1000000000 + timeout->tv_nsec : INT64_MAX;
	(void)cqe;
	(void)count;
	(void)mask;
	int submitted = io_uring_submit_and_get_events(ring);
	int ret = submitted;
	while (ret >= 0 && !io_uring_cq_ready(ring)) {
		if (now_ns() >= end)
			return -ETIME;
		if (nanosleep(&step, NULL))
			return -errno;
		ret = io_uring_submit_and_get_events(ring);
	}
	return ret < 0 ? ret : submitted;
}

/* The core's own, of uring/core/idle.c. */
int __wrap_submit_and_wait_idly(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned count,
				struct __kernel_timespec *timeout, sigset_t *mask)
{
	return __wrap_io_uring_submit_and_wait_timeout(ring, cqe, count, timeout, mask);
}
