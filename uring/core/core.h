/* core.h: what the files of the C core share.
 *
 * ring.c      the turn: which completion goes where, and what becomes an event
 * enter.c     requests on their way to the kernel, and the system call of a turn
 * idle.c      the wait in that call
 * commands.c  what the caller asked for since the last turn
 * slots.c     the life of a handle: from its first command to its final event
 * accept.c    listeners
 * stage.c     bytes on their way out: one send in flight a stream, the rest waits
 * again.c     receives and accepts that the kernel did not wait with
 * close.c     how a descriptor is given back
 * pins.c      the caller's bytes, where they have to stay beyond their turn
 * pool.c      memory for what waits
 * packets.c   sockets that keep message boundaries: their packets on the way out
 * inbox.c     packets that arrive
 * lines.c     packets whose receivers are full
 * source.c    the local address of a datagram
 * buffers.c   receive buffers, and the slots that wait for one
 * once.c      connects and polls, which answer once
 * cancel.c    requests whose end is wanted before they have come to anything
 * room.c      sockets that are full
 * peer_end.c  the peer's end, where a receive may miss it
 * pending.c   what has happened to a handle that no turn has reported yet
 * setup.c     making and ending a ring, and trying what this kernel can do
 */
#ifndef RINGNET_CORE_H
#define RINGNET_CORE_H

#include "kernel.h"
#include "ring.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define INDEX_BITS 24
#define INDEX_MASK ((1U << INDEX_BITS) - 1)
#define NO_SLOT UINT32_MAX
/* Buffers a power of two apart would share their places in the caches. */
#define BUFFER_GAP 192U /* bytes */
#define SQ_ENTRIES 256U
#define CQ_ENTRIES 4096U
/* Sends in `inline_sends`: they stay until every completion of their turn was taken. */
#define INLINE_PER_SLOT 2U
#define PINS_PER_SLOT 2U /* a flight, and of the pieces that wait in all slots its share */
#define PACKETS_AT_ONCE 1024U /* with the kernel, a power of two; the others wait in their slots */
#define SOURCE_ROOM 64U /* bytes of the control message with a packet's local address */
#define LARGEST_PACKET ((size_t)1 << 30) /* bytes; sqe->len has 32 bits */
/* Of a closing stream, in one receive: its share, while others wait. */
#define DROPPED_AT_ONCE 65536U
/* Rounds of a turn without an event: then the caller may look at its signals and timers. */
#define MOST_ROUNDS 64U

/* Which request a completion answers; user_data is generation << 32 | request << 24 | index. */
enum request {
	REQ_NONE,
	REQ_ACCEPT,
	REQ_CONNECT,
	REQ_RECV,
	REQ_SEND,
	REQ_POLL,
	REQ_WAKE,
	REQ_PACKET, /* index: of the packet */
	REQ_WOKEN, /* another ring's message */
	REQ_WAKE_OTHER, /* ours, that did not arrive */
	REQ_END, /* the poll for the peer's end */
	REQ_ROOM, /* the poll for room in the socket */
	REQ_CANCEL,
	REQ_FENCE, /* nothing: its completion stands behind all before it */
};

enum role { ROLE_FREE, ROLE_LISTENER, ROLE_STREAM, ROLE_POLL, ROLE_PACKETS };

/* OPEN -> FLUSHING -> LINGERING -> CLOSING -> ENDED; a hard close skips what it may. */
enum phase { OPEN, FLUSHING, LINGERING, CLOSING, ENDED };

enum {
	ARMED = 1 << 0,	     /* the standing request (accept, recv, connect, poll) is with the kernel */
	SENDING = 1 << 1,    /* a send is with the kernel, where none stays */
	CONNECTING = 1 << 2, /* ARMED means connect */
	PAUSED = 1 << 3,
	PEER_ENDED = 1 << 4,
	BROKEN = 1 << 5,   /* `error` is why */
	NOTIFY = 1 << 6,   /* DRAINED is wanted */
	FIN = 1 << 7,	   /* end our side once nothing is staged */
	FIN_SENT = 1 << 8, /* it is ended */
	BY_RESET = 1 << 9,
	STARVED = 1 << 10,  /* in the list of slots that wait for receive buffers */
	IS_OWED = 1 << 11,  /* in the list of slots with `owed` events */
	INLINE = 1 << 12,   /* the send in flight is over when it is submitted */
	REFERRED = 1 << 13, /* the flight points to the caller's bytes */
	SERVED = 1 << 14,   /* got a receive buffer since it last waited for one */
	SEND_LATER = 1 << 15, /* in the list of slots whose send starts after the commands */
	ORDERED = 1 << 16,    /* one packet in flight: the socket keeps their order, so do we */
	HAS_END = 1 << 17,    /* packets of a connection, whose end is reported */
	LATE_TOO = 1 << 18,   /* a closing listener still reports what it has accepted */
	PINNED = 1 << 19,     /* REFERRED, and the caller keeps the bytes in place */
	WATCHED = 1 << 20,    /* a poll for the peer's end is with the kernel */
	END_SEEN = 1 << 21,   /* that poll has reported it: receives come one by one */
	IS_FRESH = 1 << 22,   /* in the list of slots that refer to bytes of this turn */
	ROOM = 1 << 23,	      /* a poll for room in the socket is with the kernel */
	ROOM_TOLD = 1 << 24,  /* it has reported some, and nothing has left since */
	FULL = 1 << 25,	      /* nothing is sent before there is room, or after a while */
	RETRIES = 1 << 26,    /* in the list of slots that are tried again after a while */
	TELLS_LOCAL = 1 << 27, /* each datagram comes with the address that it was sent to */
	IS_V6 = 1 << 28,      /* a socket of IPv6, or of both */
	POLLED = 1 << 29,     /* the standing request is a poll: see again.c */
	READ_TOLD = 1 << 30,  /* it has reported something to receive, and nothing has come since */
};

/* Requests of a slot: the standing one, and the polls for its end and for room. */
enum { OF_STANDING = 1 << 0, OF_END = 1 << 1, OF_ROOM = 1 << 2 };

/* Events that wait for room, reported in this order. */
enum { OWE_DRAINED = 1 << 0, OWE_SHUT = 1 << 1, OWE_ERROR = 1 << 2, OWE_CLOSED = 1 << 3 };

struct block {
	char *at;
	size_t size; /* what the pool gave */
	size_t used;
};

/* Bytes of a stream that wait: behind the flight, and before the stage. */
struct piece {
	struct piece *next;
	struct block memory; /* of the piece itself */
	struct block bytes;  /* `size` 0 where it refers to the caller's */
	bool fresh;	     /* which came in this turn, and are not pinned yet */
};

struct packet {
	struct packet *next;
	struct block memory; /* of the packet itself */
	struct msghdr message;
	struct iovec bytes;
	uint32_t slot;
	_Alignas(8) char rest[]; /* control, where it leaves from; name; bytes */
};

struct lines; /* lines.c */
struct inbox; /* inbox.c */

struct slot {
	uint32_t generation;
	int fd;
	int error; /* positive errno */
	uint32_t flags;
	uint8_t role : 4, phase : 4; /* halves: each connection has one of these slots */
	uint8_t owed;
	uint8_t cancelling;	     /* requests whose end is wanted */
	uint8_t changes : 4, lost : 4; /* polls that report changes only; those the kernel has ended */
	uint32_t awaited; /* final completions still to come */
	uint32_t next_owed;
	uint32_t next_starved, last_starved;
	union {
		uint32_t mask;	  /* of a poll */
		uint32_t ticket;  /* of an INLINE flight: which of `inline_sends` it is */
		uint32_t in_flight; /* packets with the kernel */
	};
	union {
		struct { /* a stream */
			struct block flight; /* `size` 0 where it refers to the caller's bytes */
			size_t sent;	     /* of the flight */
			struct piece *waiting, *last_waiting;
			struct block stage;
		};
		uint32_t ready; /* of a poll: what is reported when it has ended */
		struct { /* packets */
			struct packet *first, *last; /* those that are not with the kernel yet */
			struct packet *returned; /* the last of the first that were */
			struct lines *lines; /* NULL where no receiver is full */
			struct inbox *inbox; /* for a kernel without multishot receive */
		};
	};
};

struct list {
	uint32_t head, tail;
};

enum { STREAM_GROUP, PACKET_GROUP, GROUPS };

/* Receive buffers of one size, and the slots that wait for one of them. */
struct group {
	struct io_uring_buf_ring *ring; /* NULL where it is not open */
	uint32_t count;
	uint32_t size;	/* bytes that the kernel may fill of each */
	size_t offset;	/* of the first in the shared memory */
	size_t stride;	/* from one to the next */
	size_t lead;	/* bytes before what the kernel fills */
	bool incremental; /* several receives fill a buffer, one after the other */
	uint32_t *filled; /* then: bytes of each that the kernel has used */
	struct rn_list lent; /* those the caller may look at until the next turn */
	uint32_t back; /* since a slot that waits for one was served */
	struct list starved;
	uint32_t passed_over; /* the last of the starved that keep their places in front */
};

#define POOL_CLASSES 5
struct pool {
	void *free[POOL_CLASSES]; /* each free block begins with a pointer to the next */
	size_t kept;		  /* bytes in those lists */
};

#define MOST_TABLES 24
struct table {
	void *at;
	size_t size;
};

struct rn_core {
	struct rn_shared shared;
	struct table tables[MOST_TABLES]; /* those that are open */
	unsigned table_count;
	struct rn_bounds bounds;
	struct io_uring ring;
	struct io_uring_sqe *held; /* requests that the kernel takes later */
	uint32_t held_first, held_count, held_room;
	struct group groups[GROUPS];
	struct slot *slots;
	uint32_t slots_used; /* no slot from here on was ever used */
	uint32_t event_count;
	struct rn_list inline_sends; /* slots whose send may be over without a completion */
	uint32_t inline_ticket; /* of the first of them; those behind have the next ones */
	int64_t inline_submitted; /* the first so many of them are with the kernel */
	struct rn_list later;	  /* slots whose send starts when all commands are taken */
	struct rn_list fresh;	  /* slots that may refer to bytes of this turn when it ends */
	struct list owed;
	size_t empty_offset; /* where the senders of empty packets are put without a buffer */
	uint32_t empty_count; /* in this turn */
	struct packet **packets; /* those with the kernel, in a ring; NULL where it has answered */
	uint32_t packets_first;
	uint32_t packets_count;
	uint32_t packets_submitted; /* the first so many of them are with the kernel */
	uint32_t *retries; /* slots to try again, in a ring */
	uint32_t retry_first;
	uint32_t retry_count;
	int64_t retry_at; /* CLOCK_MONOTONIC, in ns */
	uint32_t waiting_count; /* pieces, of all streams */
	struct pool pool;
	char *nowhere; /* where bytes that are dropped are put: DROPPED_AT_ONCE of them */
	uint64_t wake_value;
	bool multishot_recv;
	bool send_takes_name; /* cheaper than sendmsg, which reads two structures more */
	bool wake_armed;
	bool owed_first; /* in this turn: owed events and completions alternate */
	bool is_marked;  /* some sends are concluded when `mark` is passed */
	bool is_fenced;  /* and when the completion of a fence was taken */
	uint32_t mark;   /* in the completion queue */
	int failure; /* positive errno: the ring itself is broken */
};

#include "lists.h"

static inline size_t buffer_offset(const struct group *group, unsigned id)
{
	return group->offset + id * group->stride;
}

/* What may follow in the life of a handle: after an error only its end, and after a close no more of
 * what happens to it. What is owed has its own order. */
static inline bool may_tell(const struct slot *slot)
{
	return slot->phase == OPEN && !(slot->flags & BROKEN);
}

static inline uint32_t index_of(const struct rn_core *core, const struct slot *slot)
{
	return (uint32_t)(slot - core->slots);
}

static inline bool has_room(const struct rn_core *core)
{
	return core->event_count < core->bounds.events;
}

static inline int64_t handle_of(const struct rn_core *core, const struct slot *slot)
{
	return (int64_t)slot->generation << INDEX_BITS | index_of(core, slot);
}

#include "calls.h"

#endif
