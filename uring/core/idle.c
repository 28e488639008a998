/* idle.c: waiting for completions without counting as a wait for I/O.
 *
 * A thread that waits in io_uring_enter(2) counts into the I/O wait of its CPU (/proc/stat), as if a
 * disk were slow. From kernel 6.15 on a flag of the call turns that off. liburing passes it from 2.12
 * on, so the call is made here.
 *
 * The law of this file: it is io_uring_submit_and_wait_timeout with that flag, and no more.
 */
#include "core.h"

int submit_and_wait_idly(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned count,
			 struct __kernel_timespec *timeout, sigset_t *mask)
{
	struct io_uring_getevents_arg wait = {
		.sigmask = (uint64_t)(uintptr_t)mask,
		.sigmask_sz = _NSIG / 8,
		.ts = (uint64_t)(uintptr_t)timeout,
	};
	struct io_uring_sq *sq = &ring->sq;
	unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | IORING_ENTER_NO_IOWAIT;
	if (ring->enter_ring_fd != ring->ring_fd)
		flags |= IORING_ENTER_REGISTERED_RING;
	/* What was prepared becomes visible to the kernel; see open_ring for the indexes. */
	sq->sqe_head = sq->sqe_tail;
	io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
	(void)cqe; /* the caller looks at the queue itself */
	return io_uring_enter2((unsigned)ring->enter_ring_fd, io_uring_sq_ready(ring), count, flags,
			       (sigset_t *)&wait, sizeof wait);
}
