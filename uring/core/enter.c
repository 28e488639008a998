/* enter.c: requests on their way to the kernel, and the one system call of a turn.
 *
 * The law of this file: a request that was made gets submitted, however busy the kernel is. Where it
 * takes no more for now, requests wait here, in their order, and the turn goes on with what there is.
 */
#include "core.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIRST_HELD 256U
#define NAP_NS 1000000 /* until a kernel that is out of memory is asked again */

int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The kernel wants completions taken first (EBUSY), has no memory (EAGAIN), or was interrupted. */
static bool is_busy(int ret)
{
	return ret == -EBUSY || ret == -EAGAIN || ret == -EINTR;
}

/* At the end of the table: what was taken from its front is used again once that is half of it. */
static bool make_room_to_hold(struct rn_core *core)
{
	if (core->held_first && core->held_first >= core->held_room / 2) {
		memmove(core->held, core->held + core->held_first,
			core->held_count * sizeof *core->held);
		core->held_first = 0;
		return true;
	}
	uint32_t room = core->held_room ? 2 * core->held_room : FIRST_HELD;
	struct io_uring_sqe *held = realloc(core->held, room * sizeof *held);
	if (!held)
		return false;
	core->held = held;
	core->held_room = room;
	return true;
}

static struct io_uring_sqe *hold(struct rn_core *core)
{
	if (core->held_first + core->held_count == core->held_room && !make_room_to_hold(core)) {
		core->failure = ENOMEM;
		return NULL;
	}
	return &core->held[core->held_first + core->held_count++];
}

/* Room for one request, or NULL when the ring has failed; the turn then returns the error. */
struct io_uring_sqe *free_sqe(struct rn_core *core)
{
	if (core->held_count)
		return hold(core);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&core->ring);
	if (sqe)
		return sqe;
	int ret = io_uring_submit(&core->ring);
	sqe = io_uring_get_sqe(&core->ring);
	if (sqe)
		return sqe;
	if (ret >= 0 || is_busy(ret))
		return hold(core);
	core->failure = -ret;
	return NULL;
}

static void take_held(struct rn_core *core)
{
	struct io_uring_sqe *sqe;
	while (core->held_count && (sqe = io_uring_get_sqe(&core->ring))) {
		*sqe = core->held[core->held_first++];
		core->held_count--;
	}
	if (!core->held_count)
		core->held_first = 0;
}

static int submit_and_wait(struct rn_core *core, int64_t timeout_ns)
{
	struct io_uring_cqe *cqe;
	struct __kernel_timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	struct __kernel_timespec *timeout = timeout_ns < 0 ? NULL : &t;
	return core->ring.features & IORING_FEAT_NO_IOWAIT
		       ? submit_and_wait_idly(&core->ring, &cqe, 1, timeout, NULL)
		       : io_uring_submit_and_wait_timeout(&core->ring, &cqe, 1, timeout, NULL);
}

/* Completions that found no place in the queue come later, in their order, and it is not known how
 * many there are. The completion of a request that is made now comes behind them all. */
static void make_fence(struct rn_core *core)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&core->ring); /* there is room: all is submitted */
	io_uring_prep_nop(sqe);
	sqe->user_data = (uint64_t)REQ_FENCE << INDEX_BITS;
	core->is_fenced = true;
}

/* Of what is submitted by now, every completion there will be at once stands before the mark. Where
 * some requests are not submitted yet it is not known which: then the mark is set another time. A
 * mark that is set stays until it is passed, so that neither a queue that is never empty nor one
 * that is always too small can put it off. */
static void mark(struct rn_core *core)
{
	if (core->is_marked || io_uring_sq_ready(&core->ring) || core->held_count)
		return;
	core->inline_submitted = core->inline_sends.count;
	core->packets_submitted = core->packets_count;
	core->is_marked = core->inline_submitted || core->packets_submitted;
	if (!core->is_marked)
		return;
	if (io_uring_cq_has_overflow(&core->ring))
		make_fence(core);
	core->mark = io_uring_smp_load_acquire(core->ring.cq.ktail);
}

bool passed_mark(struct rn_core *core)
{
	if (!core->is_marked || core->is_fenced ||
	    (int32_t)(*core->ring.cq.khead - core->mark) < 0)
		return false;
	core->is_marked = false;
	return true;
}

/* Submit all there is, and wait until something is completed, if that is wanted. */
int enter(struct rn_core *core, bool wait, int64_t timeout_ns)
{
	if (core->held_count)
		take_held(core);
	int ret = wait && timeout_ns != 0 ? submit_and_wait(core, timeout_ns)
					  : io_uring_submit_and_get_events(&core->ring);
	mark(core);
	/* Whose completion the kernel had no memory for is not known: anything may be lost. */
	if (*core->ring.cq.koverflow)
		core->failure = ENOMEM;
	if (is_busy(ret) && ret != -EINTR && timeout_ns != 0 && !io_uring_cq_ready(&core->ring))
		(void)nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
	return ret < 0 && ret != -ETIME && !is_busy(ret) ? ret : 0;
}
