/* uring_faults.c: what may go wrong beneath the C core, made to happen from a seed.
 *
 * The linker puts this between the core and liburing (`-Wl,--wrap`, see build_sanitized.sh), so that
 * the core itself is not changed. Requests are changed just before they are submitted, completions
 * just before they are looked at, and never so that it could not happen with a real kernel:
 *
 *   short reads and writes   the request asks for less, once
 *   EAGAIN, EINTR, ENOBUFS   the request becomes a no-op with that result; it is made again
 *   polled first             the receive looks when its poll is ready, for all that came until then
 *   failing accept           ECONNABORTED, EPROTO: the newcomer was gone; the next is not
 *   reordered completions    those of different requests and buffers; each one's keep their order,
 *                            and what an earlier call has shown keeps its place
 *   lost cancel races        the cancellation is submitted one call later
 *   CQ overflow              rings of a few entries
 *   interrupted waits        EINTR, EAGAIN and EBUSY of io_uring_enter(2)
 *   slow close               close(2) takes its time
 *
 *   packets cut short        only on demand, since one that was cut is lost: the system took less
 *
 * What is refused at set-up is in uring_refusals.c, and what the seed decides in uring_chance.c.
 * Without a seed nothing is changed. A ring belongs to one thread, and so does what is here.
 */
#include "../../uring/core/core.h"
#include "uring_chance.h"

#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_FAKES 4096
#define MOST_LATE 64
#define MOST_RINGS 16

static _Atomic int cut_after; /* packets until one is cut; 0: none is */
static _Atomic int cut_to;    /* bytes */

/* What a no-op is to answer, cancellations that come late, and which completions are not new. */
struct fake {
	const struct io_uring *ring;
	uint64_t user_data;
	unsigned from; /* where in the completion queue it can be at the earliest */
	int res;
};
struct late {
	const struct io_uring *ring;
	struct io_uring_sqe sqe;
};
struct shown {
	const struct io_uring *ring;
	unsigned tail; /* of the completion queue after the last call */
};
static _Thread_local struct {
	struct fake fakes[MOST_FAKES];
	unsigned fake_count;
	struct late late[MOST_LATE];
	unsigned late_count;
	struct shown shown[MOST_RINGS];
} my;

/* For the tests: of the n-th packet that any core sends from here on the system takes so much. */
void rn_faults_cut(int n, int bytes)
{
	cut_to = bytes;
	cut_after = n;
}

static bool is_on(void)
{
	return chance_is_on() || cut_after;
}

/* Requests, before they are submitted */

static void become_noop(struct io_uring *ring, struct io_uring_sqe *sqe, int res)
{
	uint64_t user_data = sqe->user_data;
	if (my.fake_count == MOST_FAKES)
		return;
	memset(sqe, 0, sizeof *sqe);
	sqe->opcode = IORING_OP_NOP;
	sqe->fd = -1;
	sqe->user_data = user_data;
	unsigned from = io_uring_smp_load_acquire(ring->cq.ktail);
	my.fakes[my.fake_count++] = (struct fake){ring, user_data, from, res};
}

static int one_of(const int *errors, unsigned count)
{
	return -errors[below(count)];
}

static unsigned shorter(unsigned len)
{
	unsigned most = 1U << below(15);
	return 1 + below(len < most ? len : most);
}

static void change_receive(struct io_uring *ring, struct io_uring_sqe *sqe)
{
	static const int passing[] = {EINTR, EAGAIN};
	if (happens(NO_BUFFER)) {
		become_noop(ring, sqe, -ENOBUFS);
	} else if (happens(PASSING_ERROR)) {
		become_noop(ring, sqe, one_of(passing, 2));
	} else if (sqe->opcode == IORING_OP_RECV && happens(SHORT_READ)) {
		sqe->ioprio &= (uint16_t)~IORING_RECV_MULTISHOT;
		sqe->len = shorter(sqe->len ? sqe->len : 1U << 14);
	} else if (happens(POLLED_FIRST)) {
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	}
}

/* Packets leave whole, and one that finds no buffer is lost. */
static bool is_stream(int fd)
{
	int type = 0;
	socklen_t size = sizeof type;
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

static void change_send(struct io_uring *ring, struct io_uring_sqe *sqe)
{
	static const int passing[] = {EINTR, EAGAIN, ENOBUFS};
	bool stream = is_stream(sqe->fd);
	if (!stream && cut_after && !--cut_after) {
		become_noop(ring, sqe, cut_to);
	} else if (happens(PASSING_ERROR)) {
		become_noop(ring, sqe, one_of(passing, stream ? 3 : 2));
	} else if (stream && sqe->len > 1 && happens(SHORT_WRITE)) {
		sqe->len = shorter(sqe->len - 1);
		sqe->msg_flags &= ~(uint32_t)MSG_WAITALL;
		sqe->flags &= (uint8_t)~IOSQE_CQE_SKIP_SUCCESS;
	}
}

static void change_cancel(struct io_uring *ring, struct io_uring_sqe *sqe)
{
	if (my.late_count == MOST_LATE || !happens(LATE_CANCEL))
		return;
	my.late[my.late_count++] = (struct late){ring, *sqe};
	memset(sqe, 0, sizeof *sqe); /* a no-op; its completion ends the wait */
	sqe->opcode = IORING_OP_NOP;
	sqe->fd = -1;
}

static void change(struct io_uring *ring, struct io_uring_sqe *sqe)
{
	static const int gone[] = {ECONNABORTED, EPROTO, EINTR};
	switch (sqe->opcode) {
	case IORING_OP_RECV:
	case IORING_OP_RECVMSG:
		change_receive(ring, sqe);
		return;
	case IORING_OP_SEND:
	case IORING_OP_SENDMSG:
		change_send(ring, sqe);
		return;
	case IORING_OP_ASYNC_CANCEL:
		change_cancel(ring, sqe);
		return;
	case IORING_OP_ACCEPT:
		if (happens(FAILED_ACCEPT))
			become_noop(ring, sqe, one_of(gone, 3));
		return;
	}
}

static void change_all(struct io_uring *ring)
{
	struct io_uring_sq *sq = &ring->sq;
	for (unsigned i = sq->sqe_head; i != sq->sqe_tail; i++)
		change(ring, &sq->sqes[i & sq->ring_mask]);
}

/* Behind those that are changed: they are late once. */
static void add_late(struct io_uring *ring)
{
	for (unsigned i = 0; i < my.late_count;) {
		struct io_uring_sqe *sqe;
		if (my.late[i].ring != ring || !(sqe = io_uring_get_sqe(ring))) {
			i++;
			continue;
		}
		*sqe = my.late[i].sqe;
		my.late[i] = my.late[--my.late_count];
	}
}

/* Completions, before they are looked at */

static struct io_uring_cqe *cqe_at(struct io_uring *ring, unsigned i)
{
	return &ring->cq.cqes[i & ring->cq.ring_mask];
}

/* Those before may be of an earlier request of the same name, and looked at already. */
static void answer_for(struct io_uring *ring, unsigned at)
{
	struct io_uring_cqe *cqe = cqe_at(ring, at);
	for (unsigned i = 0; i < my.fake_count; i++) {
		struct fake *fake = &my.fakes[i];
		if (fake->ring != ring || fake->user_data != cqe->user_data ||
		    (int)(at - fake->from) < 0)
			continue;
		cqe->res = fake->res;
		*fake = my.fakes[--my.fake_count];
		return;
	}
}

static void answer(struct io_uring *ring)
{
	unsigned head = *ring->cq.khead, tail = io_uring_smp_load_acquire(ring->cq.ktail);
	for (unsigned i = head; i != tail && my.fake_count; i++)
		answer_for(ring, i);
}

/* Nothing overtakes a fence of the core's: the kernel keeps the order of what is over at once. */
static bool is_fence(const struct io_uring_cqe *cqe)
{
	return cqe->user_data == (uint64_t)REQ_FENCE << INDEX_BITS;
}

/* NULL for a ring that is one too many. */
static struct shown *shown_of(const struct io_uring *ring)
{
	for (unsigned i = 0; i < MOST_RINGS; i++)
		if (my.shown[i].ring == ring)
			return &my.shown[i];
	return NULL;
}

/* From which completion on nobody can have drawn conclusions from their order. */
static unsigned first_new(const struct io_uring *ring, unsigned head, unsigned tail)
{
	struct shown *shown = shown_of(ring);
	unsigned from = shown ? shown->tail : tail;
	if (shown)
		shown->tail = tail;
	return (int)(from - head) > 0 ? from : head;
}

static void change_completions(struct io_uring *ring)
{
	unsigned tail = io_uring_smp_load_acquire(ring->cq.ktail);
	unsigned head = first_new(ring, *ring->cq.khead, tail);
	answer(ring);
	if (tail - head < 2 || !happens(REORDERED))
		return;
	for (unsigned n = 2 * (tail - head); n; n--) {
		unsigned i = head + below(tail - head - 1);
		struct io_uring_cqe a = *cqe_at(ring, i), b = *cqe_at(ring, i + 1);
		/* A buffer that several receives fill is filled in the order of their completions. */
		bool share = a.flags & b.flags & IORING_CQE_F_BUFFER &&
			     a.flags >> IORING_CQE_BUFFER_SHIFT == b.flags >> IORING_CQE_BUFFER_SHIFT;
		if (a.user_data != b.user_data && !share && !is_fence(&a) && !is_fence(&b)) {
			*cqe_at(ring, i) = b;
			*cqe_at(ring, i + 1) = a;
		}
	}
}

/* What the core calls */

int __real_io_uring_submit(struct io_uring *ring);
int __real_io_uring_submit_and_get_events(struct io_uring *ring);
typedef int wait_call(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned count,
		      struct __kernel_timespec *timeout, sigset_t *mask);
wait_call __real_io_uring_submit_and_wait_timeout;
wait_call __real_submit_and_wait_idly; /* the core's own, of uring/core/idle.c */
int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
				      struct io_uring_params *params);
void __real_io_uring_queue_exit(struct io_uring *ring);
int __real_close(int fd);
bool rn_is_refused(void); /* uring_refusals.c */

static const int busy[] = {EAGAIN, EBUSY}; /* and nothing is submitted */

int __wrap_io_uring_submit(struct io_uring *ring)
{
	if (!is_on())
		return __real_io_uring_submit(ring);
	if (happens(INTERRUPTED))
		return one_of(busy, 2);
	change_all(ring);
	int ret = __real_io_uring_submit(ring);
	answer(ring); /* the core may be looking at completions while it submits */
	return ret;
}

static int get_events(struct io_uring *ring)
{
	change_all(ring);
	add_late(ring);
	int ret = __real_io_uring_submit_and_get_events(ring);
	change_completions(ring);
	return ret;
}

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
	return is_on() ? get_events(ring) : __real_io_uring_submit_and_get_events(ring);
}

static int submit_and_wait(wait_call *real, struct io_uring *ring, struct io_uring_cqe **cqe,
			   unsigned count, struct __kernel_timespec *timeout, sigset_t *mask)
{
	if (!is_on())
		return real(ring, cqe, count, timeout, mask);
	if (happens(INTERRUPTED)) {
		if (below(2)) {
			change_completions(ring);
			return one_of(busy, 2);
		}
		(void)get_events(ring);
		return -EINTR;
	}
	change_all(ring);
	add_late(ring);
	int ret = real(ring, cqe, count, timeout, mask);
	change_completions(ring);
	return ret;
}

int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
					    unsigned n, struct __kernel_timespec *t, sigset_t *mask)
{
	return submit_and_wait(__real_io_uring_submit_and_wait_timeout, ring, cqe, n, t, mask);
}

int __wrap_submit_and_wait_idly(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned n,
				struct __kernel_timespec *t, sigset_t *mask)
{
	return submit_and_wait(__real_submit_and_wait_idly, ring, cqe, n, t, mask);
}

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
				      struct io_uring_params *params)
{
	if (rn_is_refused())
		return -ENOMEM;
	if (is_on() && happens(SMALL_RING)) {
		entries = 4U << below(4);
		params->cq_entries = entries << below(3);
	}
	int ret = __real_io_uring_queue_init_params(entries, ring, params);
	struct shown *shown = shown_of(ring);
	if (!shown)
		shown = shown_of(NULL);
	if (shown && ret >= 0)
		*shown = (struct shown){.ring = ring};
	return ret;
}

void __wrap_io_uring_queue_exit(struct io_uring *ring)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < my.fake_count; i++)
		if (my.fakes[i].ring != ring)
			my.fakes[kept++] = my.fakes[i];
	my.fake_count = kept;
	kept = 0;
	for (unsigned i = 0; i < my.late_count; i++)
		if (my.late[i].ring != ring)
			my.late[kept++] = my.late[i];
	my.late_count = kept;
	struct shown *shown = shown_of(ring);
	if (shown)
		shown->ring = NULL;
	__real_io_uring_queue_exit(ring);
}

int __wrap_close(int fd)
{
	if (is_on() && happens(SLOW_CLOSE))
		usleep(1 + below(2000));
	return __real_close(fd);
}
