/* uring_refusals.c: ENOMEM for the C core: the n-th thing that it asks for is refused, on demand.
 *
 * Put between the core and the system as uring_faults.c is.
 */
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

static _Atomic int refuse_after; /* 0: off */

int __real_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg,
				      unsigned flags);
void *__real_calloc(size_t count, size_t size);
void *__real_malloc(size_t size);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_eventfd(unsigned value, int flags);

/* For the tests: the n-th thing that any core asks for from here on is refused; 0: none. */
void rn_faults_refuse(int n)
{
	refuse_after = n;
}

/* Whether the core is refused what it asks for now. */
bool rn_is_refused(void)
{
	return refuse_after && !--refuse_after;
}

int __wrap_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg,
				      unsigned flags)
{
	return rn_is_refused() ? -ENOMEM : __real_io_uring_register_buf_ring(ring, reg, flags);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return rn_is_refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_malloc(size_t size)
{
	return rn_is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	if (rn_is_refused()) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(at, size, protection, flags, fd, offset);
}

int __wrap_eventfd(unsigned value, int flags)
{
	if (rn_is_refused()) {
		errno = ENOMEM;
		return -1;
	}
	return __real_eventfd(value, flags);
}
