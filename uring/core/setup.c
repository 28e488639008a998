/* setup.c: making and ending a ring, and trying what this kernel can do.
 *
 * The law of this file: what a kernel has is found by asking it, never by its version.
 */
#include "core.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_BUFFERS 32768U /* that the kernel takes in one ring */
#define WHOLE_BUFFER 16384U /* bytes */
#define DISPOSE_NS 2000000000 /* that the end of a ring takes at most */
#define ROUND_NS 10000000

/* From the best to what kernel 5.19 has. */
static const unsigned setups[] = {
	IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
};

/* Each place of the submission queue has its own entry, for good: liburing does that where it is made,
 * or, before 2.3, at each submission. */
static void set_indexes(struct io_uring_sq *sq)
{
	for (unsigned i = 0; sq->array && i < sq->ring_entries; i++)
		sq->array[i] = i;
}

static int open_ring(struct rn_core *core)
{
	int ret = -EINVAL;
	for (unsigned i = 0; i < sizeof setups / sizeof *setups && ret == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = setups[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
			.cq_entries = CQ_ENTRIES,
		};
		params.flags &= core->bounds.setup_mask | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
		ret = io_uring_queue_init_params(SQ_ENTRIES, &core->ring, &params);
		core->shared.setup_flags = params.flags;
	}
	/* SINGLE_ISSUER and multishot receive both came with kernel 6.0. */
	core->multishot_recv = core->shared.setup_flags & IORING_SETUP_SINGLE_ISSUER;
	/* So did DEFER_TASKRUN and the address of a send, with 6.1. */
	core->send_takes_name = core->shared.setup_flags & IORING_SETUP_DEFER_TASKRUN;
	if (!ret)
		set_indexes(&core->ring.sq);
	return ret;
}

void *map(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return at == MAP_FAILED ? NULL : at;
}

/* Where each receive takes a whole buffer, many small ones serve better than a few large ones. */
static uint32_t parts_of_a_buffer(const struct rn_bounds *bounds)
{
	uint32_t parts = 1;
	while (bounds->buffer_size / parts > WHOLE_BUFFER && bounds->buffers * parts < MOST_BUFFERS)
		parts *= 2;
	return parts;
}

/* A packet's buffer begins with a structure. */
static size_t aligned(size_t size)
{
	return (size + 15) / 16 * 16;
}

/* Where each group's buffers are. What is never used takes no memory. */
static int place_buffers(struct rn_core *core)
{
	const struct rn_bounds *bounds = &core->bounds;
	/* Only with DEFER_TASKRUN does the kernel write when it is entered, and not before. */
	int ret = core->shared.setup_flags & IORING_SETUP_DEFER_TASKRUN
			  ? try_buffer_ring(&core->ring, true)
			  : -EINVAL;
	if (ret < 0 && ret != -EINVAL)
		return ret;
	bool incremental = !ret;
	uint32_t parts = incremental ? 1 : parts_of_a_buffer(bounds);
	uint32_t size = bounds->buffer_size / parts;
	core->groups[STREAM_GROUP] = (struct group){
		.count = bounds->buffers * parts,
		.size = size,
		.stride = size + BUFFER_GAP,
		.incremental = incremental,
	};
	size_t lead = sizeof(struct io_uring_recvmsg_out) + RN_NAME_ROOM;
	core->groups[PACKET_GROUP] = (struct group){
		.count = bounds->packet_buffers,
		/* What a multishot receive puts before the bytes, it puts into the buffer. */
		.size = bounds->packet_size + (core->multishot_recv ? (uint32_t)lead : 0),
		.stride = aligned(bounds->packet_size + lead) + BUFFER_GAP,
		.lead = core->multishot_recv ? 0 : lead,
	};
	size_t end = 0;
	for (unsigned i = 0; i < GROUPS; i++) {
		struct group *group = &core->groups[i];
		group->offset = end;
		end = aligned(end + group->count * group->stride);
		group->starved = (struct list){NO_SLOT, NO_SLOT};
		group->passed_over = NO_SLOT;
	}
	core->empty_offset = end;
	end += bounds->packet_buffers * (size_t)RN_NAME_ROOM;
	core->shared.memory_size = (int64_t)end;
	core->shared.memory = map(end);
	return core->shared.memory ? 0 : -ENOMEM;
}

/* Tables are mappings of their own, which take no memory for what is never used: malloc would take
 * large ones from its heaps once some were freed, and clear them there. (Under the address
 * sanitizer they are from malloc, so that it sees what is written beyond one.) */
static void *table(struct rn_core *core, size_t count, size_t size)
{
#ifdef __SANITIZE_ADDRESS__
	void *at = calloc(count, size);
#else
	void *at = map(count * size);
#endif
	if (at && core->table_count < MOST_TABLES)
		core->tables[core->table_count++] = (struct table){at, count * size};
	else
		core->failure = ENOMEM;
	return at;
}

static struct rn_list list(struct rn_core *core, size_t room)
{
	return (struct rn_list){table(core, room, sizeof(int64_t)), 0, (int64_t)room};
}

static int open_tables(struct rn_core *core)
{
	size_t slots = core->bounds.slots;
	core->slots = table(core, slots, sizeof *core->slots);
	core->inline_sends = list(core, INLINE_PER_SLOT * slots);
	core->shared.events = table(core, core->bounds.events, 4 * sizeof *core->shared.events);
	core->shared.staged = table(core, slots, sizeof *core->shared.staged);
	core->shared.sent = table(core, slots, sizeof *core->shared.sent);
	core->later = list(core, slots);
	core->fresh = list(core, slots);
	core->shared.pinned = list(core, PINS_PER_SLOT * slots);
	core->shared.released = list(core, PINS_PER_SLOT * slots);
	core->shared.live = table(core, slots, sizeof *core->shared.live);
	core->packets = table(core, PACKETS_AT_ONCE, sizeof *core->packets);
	core->retries = table(core, slots, sizeof *core->retries);
	core->nowhere = table(core, DROPPED_AT_ONCE, 1);
	return -core->failure;
}

static void close_tables(struct rn_core *core)
{
	/* Packets that were over, and not concluded yet. */
	for (unsigned i = 0; core->packets && i < PACKETS_AT_ONCE; i++)
		free(core->packets[i]);
	for (unsigned i = 0; i < core->table_count; i++) {
#ifdef __SANITIZE_ADDRESS__
		free(core->tables[i].at);
#else
		munmap(core->tables[i].at, core->tables[i].size);
#endif
	}
	pool_dispose(&core->pool);
	free(core->held);
	for (unsigned i = 0; i < GROUPS; i++)
		group_close(core, i);
	if (core->shared.memory && core->shared.memory_is_shared)
		(void)madvise(core->shared.memory, (size_t)core->shared.memory_size, MADV_DONTNEED);
	else if (core->shared.memory)
		munmap(core->shared.memory, (size_t)core->shared.memory_size);
	if (core->shared.wake_fd >= 0)
		close(core->shared.wake_fd);
	free(core);
}

static bool is_ring_size(uint32_t n)
{
	return n && n <= MOST_BUFFERS && !(n & (n - 1));
}

static bool is_sane(const struct rn_bounds *bounds)
{
	return bounds->slots && bounds->slots <= INDEX_MASK && bounds->events &&
	       is_ring_size(bounds->buffers) && bounds->buffer_size &&
	       bounds->buffer_size <= 1U << 30 && is_ring_size(bounds->packet_buffers) &&
	       bounds->packet_size && bounds->packet_size <= 1U << 30;
}

int rn_open(const struct rn_bounds *bounds, struct rn_core **out)
{
	if (!is_sane(bounds))
		return -EINVAL;
	struct rn_core *core = calloc(1, sizeof *core);
	if (!core)
		return -ENOMEM;
	core->bounds = *bounds;
	core->owed = (struct list){NO_SLOT, NO_SLOT};
	core->shared.wake_fd = eventfd(0, EFD_CLOEXEC);
	int ret = core->shared.wake_fd < 0 ? -errno : open_tables(core);
	if (!ret)
		ret = open_ring(core);
	if (ret < 0) {
		close_tables(core);
		return ret;
	}
	ret = place_buffers(core);
	for (unsigned id = 0; id < GROUPS && !ret; id++)
		ret = group_open(core, id);
	if (ret < 0) {
		io_uring_queue_exit(&core->ring);
		close_tables(core);
		return ret;
	}
	core->shared.ring_fd = core->ring.ring_fd;
	(void)io_uring_register_ring_fd(&core->ring); /* saves a look-up an enter, where it works */
	*out = core;
	return 0;
}

struct rn_shared *rn_share(struct rn_core *core)
{
	return &core->shared;
}

void rn_unmap(char *memory, int64_t size)
{
	munmap(memory, (size_t)size);
}

/* Whether all have ended; `ended` of them were found before, and none begins again. */
static bool is_quiet(const struct rn_core *core, uint32_t *ended)
{
	while (*ended < core->slots_used && core->slots[*ended].role == ROLE_FREE)
		++*ended;
	return *ended == core->slots_used;
}

/* End every handle and wait, with a bound, until the kernel has let go of their memory. */
static bool quiesce(struct rn_core *core)
{
	for (uint32_t i = 0; i < core->slots_used; i++) {
		struct slot *slot = &core->slots[i];
		if (slot->role != ROLE_FREE && slot->phase != ENDED)
			slot_close(core, slot, RN_NOW);
	}
	uint32_t ended = 0;
	int64_t deadline = now_ns() + DISPOSE_NS;
	while (!is_quiet(core, &ended) && now_ns() < deadline)
		if (rn_turn(core, NULL, 0, ROUND_NS) < 0)
			return false;
	return is_quiet(core, &ended);
}

int rn_dispose(struct rn_core *core)
{
	core->shared.released.count = 0;
	bool quiet = quiesce(core);
	for (uint32_t i = 0; i < core->slots_used && !quiet; i++) {
		struct slot *slot = &core->slots[i];
		if (slot->role != ROLE_FREE && slot->role != ROLE_POLL && slot->phase != ENDED)
			close_used(slot);
	}
	io_uring_queue_exit(&core->ring);
	if (quiet)
		close_tables(core);
	else
		close(core->shared.wake_fd);
	/* Else a request may still write to this memory: it is better lost than reused. */
	return quiet ? 0 : -EBUSY;
}

/* Probing */

static bool ring_takes(unsigned flags)
{
	struct io_uring ring;
	if (io_uring_queue_init(4, &ring, flags) < 0)
		return false;
	io_uring_queue_exit(&ring);
	return true;
}

/* A multishot request on a descriptor that cannot do it: the kernel that knows the flag fails
 * for another reason (`expected`) than the one that does not (EINVAL). */
static bool multishot_fails_with(struct io_uring *ring, bool receive, int expected)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	if (!sqe)
		return false;
	if (receive) {
		io_uring_prep_recv_multishot(sqe, -1, NULL, 0, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = STREAM_GROUP;
	} else {
		io_uring_prep_multishot_accept(sqe, -1, NULL, NULL, 0);
	}
	if (io_uring_submit_and_wait(ring, 1) < 0 || io_uring_peek_cqe(ring, &cqe) < 0)
		return false;
	int res = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return res == -expected;
}

static void probe_operations(struct io_uring *ring, int32_t *features)
{
	static const struct {
		int feature, opcode;
	} wanted[] = {
		{RN_HAS_ACCEPT, IORING_OP_ACCEPT},   {RN_HAS_CONNECT, IORING_OP_CONNECT},
		{RN_HAS_RECV, IORING_OP_RECV},	     {RN_HAS_SEND, IORING_OP_SEND},
		{RN_HAS_CANCEL, IORING_OP_ASYNC_CANCEL}, {RN_HAS_POLL, IORING_OP_POLL_ADD},
		{RN_HAS_RECVMSG, IORING_OP_RECVMSG},   {RN_HAS_SENDMSG, IORING_OP_SENDMSG},
		{RN_HAS_MSG_RING, IORING_OP_MSG_RING}, {RN_HAS_SEND_ZC, IORING_OP_SEND_ZC},
	};
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	if (!probe)
		return;
	for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++)
		features[wanted[i].feature] = io_uring_opcode_supported(probe, wanted[i].opcode);
	io_uring_free_probe(probe);
}

/* A filter may refuse one of the calls only; what a kernel lacks it answers otherwise (EINVAL). */
static bool is_refusal(int ret)
{
	return ret == -EPERM || ret == -EACCES || ret == -ENOSYS || ret == -ENOMEM;
}

static int try_calls(struct io_uring *ring, int32_t *call)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	io_uring_prep_nop(sqe);
	int ret = io_uring_submit_and_wait(ring, 1);
	*call = 1;
	if (is_refusal(ret))
		return ret;
	if (!io_uring_peek_cqe(ring, &cqe))
		io_uring_cqe_seen(ring, cqe);
	ret = try_buffer_ring(ring, false);
	*call = 2;
	return is_refusal(ret) ? ret : 0;
}

int rn_probe(int32_t *features, int32_t *call)
{
	struct io_uring ring;
	for (int i = 0; i < RN_FEATURES; i++)
		features[i] = 0;
	*call = 0;
	int ret = io_uring_queue_init(4, &ring, 0);
	if (ret < 0)
		return ret;
	ret = try_calls(&ring, call);
	if (ret < 0) {
		io_uring_queue_exit(&ring);
		return ret;
	}
	features[RN_HAS_EXT_ARG] = !!(ring.features & IORING_FEAT_EXT_ARG);
	features[RN_HAS_BUFFER_RING] = !try_buffer_ring(&ring, false);
	features[RN_HAS_INCREMENTAL_BUFFERS] = !try_buffer_ring(&ring, true);
	features[RN_HAS_MULTISHOT_ACCEPT] = multishot_fails_with(&ring, false, EBADF);
	features[RN_HAS_MULTISHOT_RECV] = multishot_fails_with(&ring, true, EBADF);
	probe_operations(&ring, features);
	io_uring_queue_exit(&ring);
	features[RN_HAS_COOP_TASKRUN] = ring_takes(IORING_SETUP_COOP_TASKRUN);
	features[RN_HAS_SUBMIT_ALL] = ring_takes(IORING_SETUP_SUBMIT_ALL);
	features[RN_HAS_SINGLE_ISSUER] = ring_takes(IORING_SETUP_SINGLE_ISSUER);
	features[RN_HAS_DEFER_TASKRUN] =
		ring_takes(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	return 0;
}

const char *rn_liburing_version(void)
{
#ifdef IO_URING_VERSION_MAJOR
#define TEXT(x) #x
#define VERSION(a, b) TEXT(a) "." TEXT(b)
	return VERSION(IO_URING_VERSION_MAJOR, IO_URING_VERSION_MINOR);
#else
	return "2.3 (or older; it cannot be told apart)";
#endif
}
