/* ring.h: the face of the C core, as Python sees it.
 *
 * build.py gives this very file to cffi, so it holds plain declarations only (lines that begin
 * with '#' are for the C compiler). The promises behind the words are those of
 * engine/base/contract.py; the numbers of events, modes and masks are those of completion.py.
 */
#ifndef RINGNET_RING_H
#define RINGNET_RING_H
#include <stdint.h>
#endif

/* Events: four integers each (handle, kind, a, b). */
enum {
	RN_DATA = 1,
	RN_EOF = 2,
	RN_ERROR = 3,
	RN_ACCEPTED = 4,
	RN_STALLED = 5,
	RN_CONNECTED = 6,
	RN_DRAINED = 7,
	RN_SHUT = 8,
	RN_READY = 9,
	RN_CLOSED = 10,
	RN_WOKEN = 11,
	RN_DATAGRAM = 12,
	RN_TRUNCATED = 13,
	RN_REFUSED = 14
};

/* Commands: three integers each (operation, handle, argument), one after the other in one block.
 * Where the table shows bytes, the command is followed at once by that many. */
enum {
	RN_LISTEN = 1,	 /* argument: descriptor */
	RN_ADOPT = 2,	 /* argument: descriptor */
	RN_CONNECT = 3,	 /* argument: descriptor; then one integer n and n bytes of sockaddr */
	RN_NOTIFY = 6,
	RN_PAUSE = 7,
	RN_RESUME = 8,
	RN_SHUTDOWN = 9,
	RN_CLOSE = 10, /* argument: mode */
	RN_POLL = 11,  /* argument: mask << 32 | descriptor */
	RN_SENDS = 12, /* handle: how many, n; argument: items_at << 48 | bytes_at << 32 | size_at;
			* then the address of a list, and n handles. At list + items_at is the address
			* of n addresses. At each of them + size_at is an int64 size, and at it +
			* bytes_at are so many bytes. They stay in place until the turn ends; those in
			* `pinned`, until they are in `released` as often. */
	RN_ADOPT_PACKETS = 13, /* argument: descriptor */
	RN_SEND_TO = 14, /* argument: n; then one integer m, m bytes of sockaddr, n bytes;
			  * that to send to may be followed by that to send from, of the same size */
	RN_WAKE_OTHER = 15 /* argument: descriptor of another ring */
};

/* A DATAGRAM event points to this much room for the sender's sockaddr; the bytes come behind. From
 * RN_LOCAL_AT on there is the sockaddr that it was sent to, where the socket reports that. */
enum { RN_NAME_ROOM = 256, RN_LOCAL_AT = 128 };

enum { RN_GRACEFUL = 0, RN_NOW = 1, RN_RESET = 2, RN_LEAVE = 5 };

/* Features that rn_probe reports, in this order: 1 yes, 0 no. */
enum {
	RN_HAS_COOP_TASKRUN,
	RN_HAS_SINGLE_ISSUER,
	RN_HAS_DEFER_TASKRUN,
	RN_HAS_SUBMIT_ALL,
	RN_HAS_EXT_ARG,
	RN_HAS_BUFFER_RING,
	RN_HAS_INCREMENTAL_BUFFERS,
	RN_HAS_ACCEPT,
	RN_HAS_MULTISHOT_ACCEPT,
	RN_HAS_CONNECT,
	RN_HAS_RECV,
	RN_HAS_MULTISHOT_RECV,
	RN_HAS_RECVMSG,
	RN_HAS_SENDMSG,
	RN_HAS_SEND,
	RN_HAS_CANCEL,
	RN_HAS_POLL,
	RN_HAS_MSG_RING,
	RN_HAS_SEND_ZC,
	RN_FEATURES
};

struct rn_bounds {
	uint32_t slots;
	uint32_t events;
	uint32_t buffers;
	uint32_t buffer_size;
	uint32_t stage_bytes;
	uint32_t packet_buffers;
	uint32_t packet_size;
	uint32_t line_packets;
	uint32_t line_bytes;
	int64_t retry_ns;
	uint32_t setup_mask; /* which IORING_SETUP flags may be used; ~0 for all */
};

/* A list that never holds more than it has room for: see push() in lists.h. */
struct rn_list {
	int64_t *items;
	int64_t count, room;
};

/* What turn() and its caller share. The arrays live as long as the core. */
struct rn_shared {
	char *memory; /* the receive buffers, where DATA events point into */
	int64_t memory_size;
	int64_t *events;   /* four integers an event; rn_turn returns how many events */
	int64_t *staged;   /* for each slot, bytes accepted and not yet sent */
	int64_t *sent;	   /* for each slot, bytes that the kernel has taken so far */
	struct rn_list pinned;	 /* where bytes begin that must stay beyond this turn */
	struct rn_list released; /* where pinned bytes begin that need not stay any more */
	uint8_t *live; /* for each slot, whether a handle owns it */
	int32_t memory_is_shared; /* set by a caller that may look at it later: rn_dispose leaves it mapped */
	int32_t wake_fd;
	int32_t ring_fd;
	uint32_t setup_flags; /* those the kernel gave */
};

struct rn_core;

/* All of these return 0 or more, or -errno. A core belongs to the thread that opened it. */
int rn_open(const struct rn_bounds *bounds, struct rn_core **out);
struct rn_shared *rn_share(struct rn_core *core);
int rn_turn(struct rn_core *core, const char *commands, int64_t size, int64_t timeout_ns);
int rn_pending(struct rn_core *core, int64_t handle); /* POLLIN | POLLOUT */
int rn_dispose(struct rn_core *core);
void rn_unmap(char *memory, int64_t size);
/* Where it is refused, `call` is 0 for io_uring_setup, 1 for io_uring_enter, 2 for _register. */
int rn_probe(int32_t *features, int32_t *call);
const char *rn_liburing_version(void);
