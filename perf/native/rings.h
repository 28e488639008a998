/* rings.h: what the io_uring programs of perf/ share: a ring for one thread, and a ring of
 * provided buffers. Written for liburing 2.3 (Debian 12) and Linux 6.1, and later ones.
 */
#ifndef PERF_RINGS_H
#define PERF_RINGS_H

#include <err.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

struct buffers {
	struct io_uring_buf_ring *ring;
	char *memory;
	size_t size;   /* of each */
	size_t stride; /* from one to the next */
	unsigned count;
	unsigned added; /* since the kernel was last told */
};

static inline void open_ring(struct io_uring *ring, unsigned entries)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQSIZE,
		.cq_entries = 4 * entries,
	};
	int ret = io_uring_queue_init_params(entries, ring, &params);
	if (ret < 0)
		errx(2, "io_uring: %s (Linux 6.1 or later is needed, and "
			"kernel.io_uring_disabled=0)", strerror(-ret));
	io_uring_register_ring_fd(ring); /* saves a look-up a turn; works without */
}

static inline struct io_uring_sqe *next_sqe(struct io_uring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	if (!sqe) {
		io_uring_submit(ring);
		sqe = io_uring_get_sqe(ring);
	}
	if (!sqe)
		errx(2, "the submission queue stays full");
	return sqe;
}

static inline char *buffer_at(const struct buffers *b, unsigned id)
{
	return b->memory + (size_t)id * b->stride;
}

/* The kernel sees it after tell_buffers(). */
static inline void give_buffer(struct buffers *b, unsigned id)
{
	io_uring_buf_ring_add(b->ring, buffer_at(b, id), (unsigned)b->size, (unsigned short)id,
			      io_uring_buf_ring_mask(b->count), (int)b->added++);
}

static inline void tell_buffers(struct buffers *b)
{
	io_uring_buf_ring_advance(b->ring, (int)b->added);
	b->added = 0;
}

static inline void *aligned(size_t bytes)
{
	void *memory = NULL;
	if (posix_memalign(&memory, 4096, bytes))
		errx(2, "no memory for %zu bytes", bytes);
	memset(memory, 0, bytes);
	return memory;
}

/* Registers them as buffer group 0. `count` is a power of two. One starts a cache line further
 * into its page than the one before: short messages in buffers of a round size would otherwise
 * all compete for the same few lines of the cache. */
static inline void open_buffers(struct io_uring *ring, struct buffers *b, unsigned count,
				size_t size)
{
	b->count = count;
	b->size = size;
	b->stride = size + 64;
	b->added = 0;
	b->memory = aligned(count * b->stride);
	b->ring = aligned(count * sizeof(struct io_uring_buf));
	struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)b->ring, .ring_entries = count};
	int ret = io_uring_register_buf_ring(ring, &reg, 0);
	if (ret < 0)
		errx(2, "io_uring_register_buf_ring: %s", strerror(-ret));
	io_uring_buf_ring_init(b->ring);
	for (unsigned id = 0; id < count; id++)
		give_buffer(b, id);
	tell_buffers(b);
}

/* A receive that goes on until it ends without IORING_CQE_F_MORE. With MSG_TRUNC as `how`, TCP
 * throws the bytes away instead of copying them: for those who only count them. */
static inline void arm_receive(struct io_uring *ring, int fd, uint64_t user_data, int how)
{
	struct io_uring_sqe *sqe = next_sqe(ring);
	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, how);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 0;
	sqe->user_data = user_data;
}

#endif
