/* fuzz_commands.c: the C core's command block, with anything in it.
 *
 * The inputs come from libFuzzer, or from the seeds of fuzz_seeds.c.
 *
 * Its opening: an input is some turns, and before each of them peers act and commands are put into
 * a block. Most are well formed and about something near: handles in use, free, of past generations
 * and out of range; sizes about what really follows; some blocks are cut off. Whatever it is, a turn
 * takes it or refuses it with -EINVAL or -EBUSY, touches nothing outside (the sanitizers look), and
 * the core can be disposed afterwards with nothing left.
 *
 * Not left to chance: descriptors, since those of this program itself would be believed, and what
 * RN_SENDS points to, the one thing that cannot be checked.
 */
#define _GNU_SOURCE /* pipe2 */
#include "core.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS 8
#define MOST_BYTES 200000
#define MOST_FDS 256
#define LARGEST 40000
#define BOXES 16
#define MOST_SENDS 50
#define NO_HANDLE -1

struct input {
	const uint8_t *at;
	size_t left;
};

struct world {
	struct rn_core *core;
	int ours[MOST_FDS]; /* given to the core, or still to be closed where it refused them */
	int peers[MOST_FDS];
	int our_count, peer_count;
};

/* What is sent: it stays the same for ever, so that it does not matter when the core reads it. */
static struct box {
	int64_t size;
	char bytes[LARGEST];
} boxes[BOXES];

static struct box *in_turn[BOXES + MOST_SENDS];
static struct pieces { /* lists of boxes: each begins with another one */
	int64_t size;
	struct box **items;
} lists[BOXES];
static char block[MOST_BYTES];
static size_t used;
static uint32_t generations[SLOTS]; /* of the handle started last */
static bool started[SLOTS];	    /* in this block */
unsigned long turns, refused, taken; /* fuzz_seeds.c tells of them */

static void fail(const char *what, long value)
{
	fprintf(stderr, "%s: %ld\n", what, value);
	abort();
}

static unsigned byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static void put(const void *bytes, size_t count)
{
	if (used + count > sizeof block)
		return;
	memcpy(block + used, bytes, count);
	used += count;
}

static void put_word(int64_t word)
{
	put(&word, sizeof word);
}
static void put_payload(size_t count)
{
	/* No word of it is a command: where a size is too small, it is taken for one. */
	if (used + count > sizeof block)
		return;
	memset(block + used, 0x5a, count);
	used += count;
}

static void put_head(int op, int64_t handle, int64_t argument)
{
	int64_t words[] = {op, handle, argument};
	put(words, sizeof words);
}

/* A size, mostly that of what follows. */
static int64_t near(struct input *in, int64_t right)
{
	static const int64_t far[] = {-1, INT64_MIN, INT64_MAX, 1LL << 32, 0};
	unsigned how = byte(in);
	if (how >= 252)
		return far[how % 5];
	return how < 248 ? right : how < 250 ? right + 1 : right - 1;
}

/* Mostly one that was started last for its index. */
static int64_t some_handle(struct input *in)
{
	unsigned how = byte(in);
	int64_t index = how % (SLOTS + (how > 252 ? 3 : 0));
	int64_t generation = how < 240 ? generations[how % SLOTS] : (int64_t)byte(in) - 128;
	return generation * (1 << INDEX_BITS) | index;
}

/* Mostly one whose index is free. */
static int64_t new_handle(struct input *in, const struct world *world)
{
	unsigned how = byte(in);
	const uint8_t *live = rn_share(world->core)->live;
	if (how > 250)
		return some_handle(in);
	for (unsigned i = how; i < how + SLOTS; i++)
		if (!live[i % SLOTS] && !started[i % SLOTS]) {
			started[i % SLOTS] = true;
			return (int64_t)++generations[i % SLOTS] << INDEX_BITS | i % SLOTS;
		}
	return NO_HANDLE;
}

static size_t some_size(struct input *in)
{
	static const size_t sizes[] = {0, 1, 7, 100, 511, 512, 513, 5000, 20000, 70000};
	return sizes[byte(in) % 10];
}

static void make_boxes(void)
{
	static const int64_t sizes[BOXES] = {0, 1, 7, 100, 511, 512, 513, 5000, 16383, 16384, 16385,
					     20000, LARGEST, 1, 512, -1};
	for (int i = 0; i < BOXES + MOST_SENDS; i++) {
		in_turn[i] = &boxes[i % BOXES];
		boxes[i % BOXES].size = sizes[i % BOXES];
		lists[i % BOXES] = (struct pieces){MOST_SENDS, in_turn + i % BOXES};
	}
}

/* Descriptors */

static int keep(struct world *world, int ours, int peer)
{
	if (ours >= 0 && world->our_count < MOST_FDS)
		world->ours[world->our_count++] = ours;
	if (peer >= 0 && world->peer_count < MOST_FDS)
		world->peers[world->peer_count++] = peer;
	return ours;
}

static int bound_socket(int kind)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && kind == SOCK_STREAM)
		listen(fd, 8);
	return fd;
}

static int some_descriptor(struct input *in, struct world *world)
{
	static const int kinds[] = {SOCK_STREAM, SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	unsigned how = byte(in) % 10;
	int pair[2];
	if (world->our_count > MOST_FDS - 4 || how == 9)
		return 99999; /* there is none */
	if (how < 5 && socketpair(AF_UNIX, kinds[how] | SOCK_CLOEXEC, 0, pair) == 0) {
		fcntl(pair[1], F_SETFL, O_NONBLOCK);
		return keep(world, pair[0], pair[1]);
	}
	if (how == 5 && pipe2(pair, O_CLOEXEC) == 0)
		return keep(world, pair[0], pair[1]);
	if (how == 6)
		return -1;
	return keep(world, bound_socket(how == 7 ? SOCK_STREAM : SOCK_DGRAM), -1);
}

/* Commands */

static void put_start(struct input *in, struct world *world, int op)
{
	static const struct sockaddr_in nobody = {.sin_family = AF_INET};
	int64_t handle = new_handle(in, world);
	if (handle == NO_HANDLE)
		return;
	int64_t fd = some_descriptor(in, world) & 0xffffffffLL;
	put_head(op, handle, op == RN_POLL ? (int64_t)byte(in) << 32 | fd : fd);
	if (op != RN_CONNECT)
		return;
	put_word(near(in, sizeof nobody));
	put(&nobody, sizeof nobody);
}

static void put_sends(struct input *in)
{
	static const int64_t absurd[] = {-1, INT64_MAX, INT64_MIN, (int64_t)1 << 40};
	unsigned how = byte(in);
	int64_t count = how > 200 ? how % MOST_SENDS : how % 6;
	int64_t layout = (int64_t)offsetof(struct pieces, items) << 48 |
			 (int64_t)offsetof(struct box, bytes) << 32 | offsetof(struct box, size);
	put_head(RN_SENDS, byte(in) ? count : absurd[how % 4], layout);
	put_word((int64_t)(intptr_t)&lists[byte(in) % BOXES]);
	for (int64_t i = 0; i < count; i++)
		put_word(some_handle(in));
}

static void put_send_to(struct input *in)
{
	char name[RN_NAME_ROOM + 8] = {0};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	size_t name_size = byte(in) % 3 ? sizeof at : byte(in) % sizeof name;
	int64_t handle = some_handle(in);
	unsigned burst = byte(in);
	size_t size = burst > 240 ? 1 : some_size(in);
	memcpy(name, &at, sizeof at);
	for (unsigned n = burst > 240 ? burst * 6 : 1; n; n--) {
		put_head(RN_SEND_TO, handle, near(in, (int64_t)size));
		put_word(near(in, (int64_t)name_size));
		put(name, name_size);
		put_payload(size);
	}
}

static void put_command(struct input *in, struct world *world)
{
	static const uint8_t starts[] = {RN_LISTEN, RN_ADOPT, RN_ADOPT, RN_ADOPT,
					 RN_CONNECT, RN_POLL, RN_ADOPT_PACKETS};
	static const uint8_t controls[] = {RN_NOTIFY, RN_PAUSE, RN_RESUME, RN_SHUTDOWN, RN_CLOSE};
	unsigned how = byte(in);
	if (how < 70) {
		put_start(in, world, starts[how % 7]);
	} else if (how < 150) {
		put_sends(in);
	} else if (how < 170) {
		put_send_to(in);
	} else if (how < 250) {
		put_head(controls[how % 5], some_handle(in), byte(in) % 99 ? byte(in) % 3 : 77);
	} else if (how < 254) {
		put_head(RN_WAKE_OTHER, 0, byte(in) % 2 ? rn_share(world->core)->ring_fd : -1);
	} else {
		put_head(byte(in) % 2 ? 0 : 16, some_handle(in), 0);
	}
}

/* Peers */

static void act(struct input *in, struct world *world)
{
	char bytes[3000] = "x";
	if (!world->peer_count)
		return;
	int *fd = &world->peers[byte(in) % (unsigned)world->peer_count];
	unsigned how = byte(in);
	if (how < 100) {
		if (send(*fd, bytes, how * 30, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
	} else if (how < 200) {
		while (recv(*fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
			;
	} else if (how < 220) {
		shutdown(*fd, SHUT_WR);
	} else {
		close(*fd);
		*fd = world->peers[--world->peer_count];
	}
}

/* A turn, and what has to hold of its result. */
static void turn(struct world *world)
{
	struct rn_shared *shared = rn_share(world->core);
	char *exact = malloc(used + 1); /* so that one byte beyond the block is noticed */
	memcpy(exact, block, used);
	int count = rn_turn(world->core, exact, (int64_t)used, 0);
	free(exact);
	turns++;
	if (count < 0) {
		refused++;
		if (count != -EINVAL && count != -EBUSY)
			fail("a turn failed", count);
		return;
	}
	taken += used > 0;
	for (int i = 0; i < count; i++) {
		const int64_t *event = shared->events + 4 * i;
		if (event[1] < RN_DATA || event[1] > RN_REFUSED || (event[0] & INDEX_MASK) >= SLOTS)
			fail("an event that is none", event[1]);
		if (event[1] == RN_ACCEPTED)
			close((int)event[2]);
		if (event[1] == RN_DATA && (event[2] < 0 || event[2] + event[3] > shared->memory_size))
			fail("data outside of the memory", event[2]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	make_boxes();
	struct rn_bounds bounds = {
		.slots = SLOTS,
		.events = 1 + byte(&in) % 8,
		.buffers = 1U << byte(&in) % 4,
		.buffer_size = 64,
		.stage_bytes = 512,
		.packet_buffers = 2,
		.packet_size = 64,
		.line_packets = 4,
		.line_bytes = 2048,
		.retry_ns = 100000,
		.setup_mask = byte(&in) % 4 ? ~0U : 1U << 7 | 1U << 8, /* or as kernel 5.19 */
	};
	static struct world world;
	world = (struct world){0};
	memset(generations, 0, sizeof generations);
	int ret = rn_open(&bounds, &world.core);
	if (ret < 0)
		fail("no ring can be made", ret);
	for (int i = 0; i < 40 && in.left; i++) {
		used = 0;
		memset(started, 0, sizeof started);
		for (unsigned n = byte(&in) % 8; n; n--)
			act(&in, &world);
		for (unsigned n = byte(&in) % 12; n; n--)
			put_command(&in, &world);
		if (byte(&in) > 230)
			used = used * byte(&in) / 256;
		turn(&world);
	}
	ret = rn_dispose(world.core);
	if (ret < 0)
		fail("it could not be disposed", ret);
	for (int i = 0; i < world.peer_count; i++)
		close(world.peers[i]);
	for (int i = 0; i < world.our_count; i++)
		close(world.ours[i]); /* most are closed already, and no number is used again here */
	return 0;
}
