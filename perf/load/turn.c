/* turn.c: one system call a turn, which submits what was prepared and waits for completions. */
#define _GNU_SOURCE
#include "load.h"

struct io_uring ring;

void turn(uint64_t at_most_ns, void (*completed)(const struct io_uring_cqe *cqe))
{
	struct io_uring_cqe *cqe;
	struct __kernel_timespec tick = {.tv_sec = (int64_t)(at_most_ns / SECOND),
					 .tv_nsec = (int64_t)(at_most_ns % SECOND)};
	unsigned head, count = 0;
	int ret = io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &tick, NULL);
	if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
		errx(2, "io_uring_enter: %s", strerror(-ret));
	tally.now = clock_now();
	io_uring_for_each_cqe(&ring, head, cqe) {
		completed(cqe);
		count++;
	}
	io_uring_cq_advance(&ring, count);
}
