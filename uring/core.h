/* core.h: what the files of the C core share.
 *
 * ring.c      the turn: which completion goes where, and what becomes an event
 * commands.c  what the caller asked for since the last turn
 * slots.c     the life of a handle: from its first command to its final event
 * stage.c     bytes on their way out: one send in flight a stream, the rest staged
 * setup.c     making and ending a ring, and trying what this kernel can do
 */
#ifndef RINGNET_CORE_H
#define RINGNET_CORE_H

#include "ring.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers that an old liburing lacks; whether the kernel knows them is found by trying. */
#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_SETUP_COOP_TASKRUN
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

#define INDEX_BITS 24
#define INDEX_MASK ((1U << INDEX_BITS) - 1)
#define NO_SLOT UINT32_MAX
#define BUFFER_GROUP 0
/* Buffers a power of two apart would share their places in the caches. */
#define BUFFER_GAP 192U /* bytes */
#define SQ_ENTRIES 256U
#define CQ_ENTRIES 4096U

/* Which request a completion answers; user_data is generation << 32 | request << 24 | index. */
enum request { REQ_NONE, REQ_ACCEPT, REQ_CONNECT, REQ_RECV, REQ_SEND, REQ_POLL, REQ_WAKE };

enum role { ROLE_FREE, ROLE_LISTENER, ROLE_STREAM, ROLE_POLL };

/* OPEN -> FLUSHING -> LINGERING -> CLOSING -> ENDED; a hard close skips what it may. */
enum phase { OPEN, FLUSHING, LINGERING, CLOSING, ENDED };

enum {
	ARMED = 1 << 0,	     /* the standing request (accept, recv, connect, poll) is with the kernel */
	SENDING = 1 << 1,    /* a send is with the kernel */
	CONNECTING = 1 << 2, /* ARMED means connect */
	PAUSED = 1 << 3,
	PEER_ENDED = 1 << 4,
	BROKEN = 1 << 5,   /* `error` tells why */
	NOTIFY = 1 << 6,   /* DRAINED is wanted */
	FIN = 1 << 7,	   /* end our side once nothing is staged */
	FIN_SENT = 1 << 8, /* it is ended */
	BY_RESET = 1 << 9,
	STARVED = 1 << 10,  /* in the list of those who wait for receive buffers */
	IS_OWED = 1 << 11,  /* in the list of those who have `owed` events */
	SEND_LATER = 1 << 15, /* in the list of those whose send starts after the commands */
	INLINE = 1 << 12,   /* the send in flight is over when it is submitted */
	SERVED = 1 << 14,   /* got a receive buffer since it last waited for one */
	REFERRED = 1 << 13, /* the send in flight points to the caller's bytes */
};

/* Events that wait for room, said in this order. */
enum { OWE_DRAINED = 1 << 0, OWE_SHUT = 1 << 1, OWE_ERROR = 1 << 2, OWE_CLOSED = 1 << 3 };

struct block {
	char *at;
	size_t size; /* what the pool gave */
	size_t used;
};

struct slot {
	uint32_t generation;
	int fd;
	int error; /* positive errno */
	uint16_t flags;
	uint8_t role;
	uint8_t phase;
	uint8_t owed;
	uint8_t awaited; /* final completions still to come: at most the standing one and a send */
	uint32_t next_owed;
	uint32_t next_starved;
	uint32_t mask;	     /* of poll() */
	struct block flight; /* `size` 0 where it refers to the caller's bytes */
	size_t sent;	     /* of the flight */
	struct block stage;
};

struct list {
	uint32_t head, tail;
};

#define POOL_CLASSES 5
struct pool {
	void *free[POOL_CLASSES]; /* each free block begins with a pointer to the next */
	size_t kept;		  /* bytes in those lists */
};

struct rn_core {
	struct rn_shared shared;
	struct rn_bounds bounds;
	struct io_uring ring;
	struct io_uring_buf_ring *buffers;
	struct slot *slots;
	uint32_t slots_used; /* no slot from here on was ever used */
	uint32_t event_count;
	uint16_t *lent; /* buffers whose data the caller may look at until the next turn */
	uint32_t lent_count;
	uint32_t buffers_back; /* since somebody who waits for one was served */
	uint32_t *inline_sends; /* slots whose send may be over without a completion */
	uint32_t inline_count;
	uint32_t *later; /* slots whose send starts when all commands are taken */
	uint32_t later_count;
	uint32_t inline_submitted; /* the first so many of them are with the kernel */
	struct list owed;
	struct list starved;
	uint32_t passed_over; /* the last of the starved who keep their places in front */
	struct pool pool;
	uint64_t wake_value;
	bool multishot_recv;
	bool wake_armed;
	int failure; /* positive errno: the ring itself is broken */
};

static inline size_t buffer_offset(const struct rn_core *core, unsigned id)
{
	return (size_t)id * (core->bounds.buffer_size + BUFFER_GAP);
}

static inline uint32_t index_of(const struct rn_core *core, const struct slot *slot)
{
	return (uint32_t)(slot - core->slots);
}

static inline int64_t handle_of(const struct rn_core *core, const struct slot *slot)
{
	return (int64_t)slot->generation << INDEX_BITS | index_of(core, slot);
}

/* ring.c */
struct io_uring_sqe *free_sqe(struct rn_core *core);
struct io_uring_sqe *new_request(struct rn_core *core, const struct slot *slot, enum request what);
void cancel_request(struct rn_core *core, const struct slot *slot, enum request what);
void emit(struct rn_core *core, int64_t handle, int kind, int64_t a, int64_t b);
void owe(struct rn_core *core, struct slot *slot, unsigned what);
void starve(struct rn_core *core, struct slot *slot);
void release(struct rn_core *core, int64_t handle);
void unstarve(struct rn_core *core, struct slot *slot);
void give_back_buffer(struct rn_core *core, unsigned id);

/* commands.c */
int take_commands(struct rn_core *core, const char *commands, int64_t size);

/* setup.c */
bool make_blocking(int fd);

/* slots.c */
int slot_start(struct rn_core *core, int64_t handle, enum role role, int fd, struct slot **out);
void slot_listen(struct rn_core *core, struct slot *slot);
void slot_adopt(struct rn_core *core, struct slot *slot);
void slot_connect(struct rn_core *core, struct slot *slot, const char *address, size_t size);
void slot_poll(struct rn_core *core, struct slot *slot, uint32_t mask);
void slot_pause(struct rn_core *core, struct slot *slot);
void slot_resume(struct rn_core *core, struct slot *slot);
void slot_shutdown(struct rn_core *core, struct slot *slot);
void slot_close(struct rn_core *core, struct slot *slot, int mode);
void slot_break(struct rn_core *core, struct slot *slot, int error);
void slot_notify(struct rn_core *core, struct slot *slot);
void slot_drained(struct rn_core *core, struct slot *slot);
void slot_end_if_quiet(struct rn_core *core, struct slot *slot);
void slot_read(struct rn_core *core, struct slot *slot);
void on_accept(struct rn_core *core, struct slot *slot, int res, unsigned flags);
void on_connect(struct rn_core *core, struct slot *slot, int res);
void on_recv(struct rn_core *core, struct slot *slot, int res, unsigned flags);
void on_poll(struct rn_core *core, struct slot *slot, int res);

/* stage.c */
void stage_copy(struct rn_core *core, struct slot *slot, const char *bytes, size_t count);
void stage_refer(struct rn_core *core, struct slot *slot, const char *bytes, size_t count);
void stage_start(struct rn_core *core);
void stage_send(struct rn_core *core, struct slot *slot);
void stage_drop(struct rn_core *core, struct slot *slot);
bool stage_keep(struct rn_core *core, struct block *block, const char *bytes, size_t count);
void stage_free(struct rn_core *core, struct block *block);
void on_send(struct rn_core *core, struct slot *slot, int res);
void stage_conclude(struct rn_core *core);
bool stage_is_awaited(const struct rn_core *core);
void pool_dispose(struct pool *pool);

#endif
