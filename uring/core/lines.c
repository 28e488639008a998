/* lines.c: packets whose receivers are full.
 *
 * A Unix datagram goes straight into the queue of its receiver. Where that is full the sending socket
 * still polls writable, since others may have room; so no event shows when to try again.
 *
 * The law of this file: each full receiver has a line of its own, and only what goes to the same
 * address waits in it. The heads are tried again once in a while, so many at a time at most, by a call
 * that never waits. Lines are bounded; what comes beyond that is refused.
 */
#include "core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BUCKETS 256U
#define TRIES_AT_ONCE 64U /* sends of each time */

struct line {
	struct line *next; /* to be tried */
	struct line *next_alike; /* in its bucket */
	struct packet *first, *last;
	uint32_t count;
};

struct lines {
	struct line *first, *last; /* in the order in which they are tried */
	uint32_t count;
	size_t bytes; /* of their packets, with what each costs besides */
	struct line *buckets[BUCKETS];
};

static uint32_t bucket_of(const struct packet *packet)
{
	const unsigned char *name = packet->message.msg_name;
	uint32_t hash = 2166136261U; /* FNV-1a */
	for (size_t i = 0; i < packet->message.msg_namelen; i++)
		hash = (hash ^ name[i]) * 16777619U;
	return (hash ^ hash >> 16) % BUCKETS;
}

static bool is_for(const struct line *line, const struct packet *packet)
{
	const struct msghdr *a = &line->first->message, *b = &packet->message;
	return a->msg_namelen == b->msg_namelen && !memcmp(a->msg_name, b->msg_name, a->msg_namelen);
}

static struct line *line_for(const struct lines *lines, const struct packet *packet)
{
	struct line *line = lines->buckets[bucket_of(packet)];
	while (line && !is_for(line, packet))
		line = line->next_alike;
	return line;
}

/* Packets without bytes are no reason for having any number of them. */
static size_t cost_of(const struct packet *packet)
{
	return packet->bytes.iov_len + RN_NAME_ROOM;
}

static bool fits(const struct rn_core *core, const struct lines *lines, const struct packet *packet)
{
	return lines->bytes + cost_of(packet) <= core->bounds.line_bytes;
}

static void add(struct lines *lines, struct line *line, struct packet *packet)
{
	if (line->last)
		line->last->next = packet;
	else
		line->first = packet;
	line->last = packet;
	line->count++;
	lines->bytes += cost_of(packet);
}

/* Whether something is ahead of the packet, which waits behind it then, or is refused. */
bool lines_take(struct rn_core *core, struct slot *slot, struct packet *packet)
{
	struct lines *lines = slot->lines;
	struct line *line = lines && packet->message.msg_name ? line_for(lines, packet) : NULL;
	if (!line)
		return false;
	if (line->count < core->bounds.line_packets && fits(core, lines, packet))
		add(lines, line, packet);
	else
		packet_over(core, slot, packet, EAGAIN);
	return true;
}

static void to_the_end(struct lines *lines, struct line *line)
{
	line->next = NULL;
	if (lines->last)
		lines->last->next = line;
	else
		lines->first = line;
	lines->last = line;
}

/* The receiver of a packet is full, and nothing waits for it yet. */
void lines_begin(struct rn_core *core, struct slot *slot, struct packet *packet)
{
	if (!slot->lines)
		slot->lines = calloc(1, sizeof *slot->lines);
	struct lines *lines = slot->lines;
	bool has_place = lines && fits(core, lines, packet);
	struct line *line = has_place ? calloc(1, sizeof *line) : NULL;
	if (!line) {
		if (lines && !lines->count)
			lines_drop(core, slot);
		packet_over(core, slot, packet, has_place || !lines ? ENOMEM : EAGAIN);
		return;
	}
	struct line **bucket = &lines->buckets[bucket_of(packet)];
	line->next_alike = *bucket;
	*bucket = line;
	add(lines, line, packet);
	to_the_end(lines, line);
	lines->count++;
	retry_later(core, slot);
}

static struct line *take_line(struct lines *lines)
{
	struct line *line = lines->first;
	lines->first = line->next;
	if (!lines->first)
		lines->last = NULL;
	return line;
}

static void close_line(struct lines *lines, struct line *line, const struct packet *last)
{
	struct line **link = &lines->buckets[bucket_of(last)];
	while (*link != line)
		link = &(*link)->next_alike;
	*link = line->next_alike;
	lines->count--;
	free(line);
}

/* Send what waits in a line until it is empty, or finds no room; returns how many sends that took. */
static uint32_t send_line(struct rn_core *core, struct slot *slot, struct line *line)
{
	struct lines *lines = slot->lines;
	for (uint32_t tries = 1; has_room(core); tries++) {
		struct packet *packet = line->first;
		ssize_t n = sendmsg(slot->fd, &packet->message, MSG_DONTWAIT | MSG_NOSIGNAL);
		int res = n < 0 ? -errno : n > INT32_MAX ? INT32_MAX : (int)n;
		if (res == -EAGAIN || res == -EINTR) {
			to_the_end(lines, line);
			return tries;
		}
		line->first = packet->next;
		line->count--;
		lines->bytes -= cost_of(packet);
		bool is_empty = !line->first;
		if (is_empty)
			close_line(lines, line, packet);
		if (!lines->count)
			lines_drop(core, slot);
		packet_over(core, slot, packet, packet_error(packet, res));
		if (is_empty)
			return tries;
		if (tries == TRIES_AT_ONCE) {
			to_the_end(lines, line);
			return tries;
		}
	}
	to_the_end(lines, line);
	return 0;
}

/* Whom to try again, once for each slot */

void retry_later(struct rn_core *core, struct slot *slot)
{
	if (slot->flags & RETRIES)
		return;
	if (!core->retry_count)
		core->retry_at = now_ns() + core->bounds.retry_ns;
	slot->flags |= RETRIES;
	uint32_t place = (core->retry_first + core->retry_count++) % core->bounds.slots;
	core->retries[place] = index_of(core, slot);
}

static struct slot *next_to_retry(struct rn_core *core)
{
	struct slot *slot = &core->slots[core->retries[core->retry_first]];
	core->retry_first = (core->retry_first + 1) % core->bounds.slots;
	core->retry_count--;
	slot->flags &= ~RETRIES;
	return slot;
}

/* Try the lines of a slot, each once at most, with so many sends; returns how many it took. */
static uint32_t try_lines(struct rn_core *core, struct slot *slot, uint32_t most)
{
	uint32_t tries = 1;
	for (uint32_t left = slot->lines ? slot->lines->count : 0;
	     left && slot->lines && tries < most && has_room(core); left--)
		tries += send_line(core, slot, take_line(slot->lines));
	if (slot->lines)
		retry_later(core, slot);
	return tries;
}

void retry_due(struct rn_core *core)
{
	uint32_t tries = 0;
	if (!core->retry_count || now_ns() < core->retry_at)
		return;
	core->retry_at = now_ns() + core->bounds.retry_ns;
	for (uint32_t left = core->retry_count; left && tries < TRIES_AT_ONCE; left--) {
		struct slot *slot = next_to_retry(core);
		if (slot->role == ROLE_FREE || slot->phase == ENDED)
			continue;
		cancel_again(core, slot);
		tries += changes_retry(core, slot);
		tries += room_retry(core, slot);
		read_retry(core, slot);
		if (slot->role != ROLE_PACKETS || slot->phase >= CLOSING || slot->flags & BROKEN)
			continue;
		tries += try_lines(core, slot, TRIES_AT_ONCE - tries);
	}
}

/* How long the turn may sleep, of the time that it has. */
int64_t retry_timeout(const struct rn_core *core, int64_t timeout_ns)
{
	if (!core->retry_count || timeout_ns == 0)
		return timeout_ns;
	int64_t left = core->retry_at - now_ns();
	if (left < 1)
		left = 1;
	return timeout_ns < 0 || left < timeout_ns ? left : timeout_ns;
}

/* Forget what waits in lines. */
void lines_drop(struct rn_core *core, struct slot *slot)
{
	struct lines *lines = slot->lines;
	if (!lines)
		return;
	slot->lines = NULL;
	while (lines->first) {
		struct line *line = take_line(lines);
		while (line->first) {
			struct block memory = line->first->memory;
			line->first = line->first->next;
			pool_give(&core->pool, &memory);
		}
		free(line);
	}
	free(lines);
}
