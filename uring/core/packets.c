/* packets.c: packets on their way out.
 *
 * The law of this file: a packet is sent whole or not at all, and in the order of the calls where
 * the socket keeps an order. It is copied when it is taken up, and its memory is kept until the
 * kernel is done with it. As in stage.c, a packet is sent by a request that is over when it is
 * submitted, and makes a completion only where it failed.
 *
 * No packet ever waits in the kernel: a send of a Unix datagram that is queued there may leave empty,
 * and it would hold one of the places that all sockets share. What finds no room goes back to its
 * slot, which waits for room by a poll; or, where no poll reports it, in a line (lines.c).
 */
#include "core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct packet *new_packet(struct rn_core *core, const struct slot *slot, size_t rest)
{
	struct block memory;
	if (!pool_take(&core->pool, &memory, sizeof(struct packet) + rest))
		return NULL;
	struct packet *packet = (struct packet *)memory.at;
	*packet = (struct packet){.memory = memory, .slot = index_of(core, slot)};
	return packet;
}

/* In place of a packet for which there was no memory: it is refused when its turn has come. */
static struct packet *new_note(struct rn_core *core, const struct slot *slot, size_t count)
{
	struct packet *packet = malloc(sizeof *packet);
	if (!packet)
		return NULL;
	*packet = (struct packet){
		.memory = {.at = (char *)packet, .size = sizeof *packet},
		.slot = index_of(core, slot),
		.bytes = {.iov_len = count},
	};
	return packet;
}

static void put_behind(struct rn_core *core, struct slot *slot, struct packet *packet)
{
	if (slot->last)
		slot->last->next = packet;
	else
		slot->first = packet;
	slot->last = packet;
	send_later(core, slot);
}

void packets_keep(struct rn_core *core, struct slot *slot, const char *name, size_t name_size,
		  const char *bytes, size_t count)
{
	struct packet *packet;
	size_t own = size_of_name(name, name_size), control = own < name_size ? SOURCE_ROOM : 0;
	if (slot->role != ROLE_PACKETS || slot->phase != OPEN || slot->flags & (FIN | FIN_SENT))
		return;
	core->shared.staged[index_of(core, slot)] += (int64_t)count;
	if (slot->flags & BROKEN)
		return; /* counted as never sent */
	packet = new_packet(core, slot, control + own + count);
	if (!packet) {
		packet = new_note(core, slot, count);
		if (packet)
			put_behind(core, slot, packet);
		else
			slot_break(core, slot, ENOMEM);
		return;
	}
	char *to = packet->rest + control;
	memcpy(to, name, own);
	memcpy(to + own, bytes, count);
	packet->bytes = (struct iovec){to + own, count};
	packet->message = (struct msghdr){
		.msg_name = own ? to : NULL,
		.msg_namelen = own < UINT32_MAX ? (socklen_t)own : UINT32_MAX,
		.msg_iov = &packet->bytes,
		.msg_iovlen = 1,
	};
	if (control) {
		packet->message.msg_control = packet->rest;
		packet->message.msg_controllen =
			put_source((struct cmsghdr *)packet->rest, name + own, name_size - own);
	}
	put_behind(core, slot, packet);
}

/* The places of packets that are with the kernel are a ring. */
static struct packet **place_of(struct rn_core *core, uint32_t number)
{
	return &core->packets[number % PACKETS_AT_ONCE];
}

static void submit(struct rn_core *core, struct slot *slot, struct packet *packet)
{
	/* With MSG_WAITALL a datagram that was cut makes a completion, as one that failed does. */
	int how = MSG_NOSIGNAL | MSG_DONTWAIT | (slot->flags & HAS_END ? 0 : MSG_WAITALL);
	struct io_uring_sqe *sqe = free_sqe(core);
	uint32_t number = core->packets_first + core->packets_count;
	*place_of(core, number) = packet;
	core->packets_count++;
	slot->in_flight++;
	slot->awaited++;
	if (!sqe)
		return;
	if (core->send_takes_name && !packet->message.msg_control) {
		io_uring_prep_send(sqe, slot->fd, packet->bytes.iov_base, packet->bytes.iov_len, how);
		io_uring_prep_send_set_addr(sqe, packet->message.msg_name,
					    (uint16_t)packet->message.msg_namelen);
	} else {
		io_uring_prep_sendmsg(sqe, slot->fd, &packet->message, (unsigned)how);
	}
	sqe->user_data = (uint64_t)REQ_PACKET << INDEX_BITS | number % PACKETS_AT_ONCE;
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static struct packet *take_first(struct slot *slot)
{
	struct packet *packet = slot->first;
	slot->first = packet->next;
	if (!slot->first)
		slot->last = NULL;
	if (slot->returned == packet)
		slot->returned = NULL;
	packet->next = NULL;
	return packet;
}

/* A packet that found no room comes before those not tried yet, and behind others that found none. */
static void put_back(struct slot *slot, struct packet *packet)
{
	struct packet **link = slot->returned ? &slot->returned->next : &slot->first;
	packet->next = *link;
	*link = packet;
	if (!packet->next)
		slot->last = packet;
	slot->returned = packet;
}

static bool may_send_packet(const struct slot *slot)
{
	return slot->first && may_send(slot) && !(slot->flags & ORDERED && slot->in_flight);
}

/* What the kernel would refuse or cut, by a positive errno, or 0. */
static int refusal_of(const struct packet *packet)
{
	if (packet->message.msg_namelen > RN_NAME_ROOM)
		return EINVAL;
	if (packet->bytes.iov_len > LARGEST_PACKET)
		return EMSGSIZE;
	return packet->bytes.iov_base ? 0 : ENOMEM;
}

/* Send the packets that wait in the slot, as many as may be with the kernel. */
void packets_send(struct rn_core *core, struct slot *slot)
{
	while (may_send_packet(slot)) {
		if (core->packets_count == PACKETS_AT_ONCE || !has_room(core)) {
			send_later(core, slot); /* a refused packet makes an event */
			return;
		}
		struct packet *packet = take_first(slot);
		int refusal = refusal_of(packet);
		if (refusal)
			packet_over(core, slot, packet, refusal);
		else if (!lines_take(core, slot, packet))
			submit(core, slot, packet);
	}
}

/* What waited for the last packet to leave. */
static void go_on(struct rn_core *core, struct slot *slot)
{
	if (slot->phase == CLOSING)
		slot_end_if_quiet(core, slot);
	else if (slot->phase < CLOSING && slot->first)
		send_later(core, slot);
	else if (slot->phase < CLOSING && slot_is_drained(slot))
		slot_drained(core, slot);
}

/* A packet was sent, or dropped; `error` is a positive errno or 0. */
void packet_over(struct rn_core *core, struct slot *slot, struct packet *packet, int error)
{
	int64_t count = (int64_t)packet->bytes.iov_len;
	bool is_told = slot->phase == OPEN && !(slot->flags & (HAS_END | BROKEN));
	/* What is refused and not reported counts as never sent. */
	if (!error || is_told)
		core->shared.staged[packet->slot] -= count;
	if (!error) {
		core->shared.sent[packet->slot] += count;
		slot->flags &= ~ROOM_TOLD;
	}
	pool_give(&core->pool, &(struct block){packet->memory.at, packet->memory.size, 0});
	if (error && is_told)
		emit(core, handle_of(core, slot), RN_REFUSED, -error, count);
	else if (error && slot->flags & HAS_END)
		slot_break(core, slot, error);
	go_on(core, slot);
}

static void found_no_room(struct rn_core *core, struct slot *slot, struct packet *packet)
{
	if (slot->flags & ORDERED && !(slot->flags & HAS_END) && packet->message.msg_name) {
		lines_begin(core, slot, packet);
	} else {
		put_back(slot, packet);
		room_wait(core, slot, EAGAIN);
	}
}

void on_packet_sent(struct rn_core *core, uint32_t number, int res)
{
	struct packet *packet = *place_of(core, number);
	struct slot *slot = &core->slots[packet->slot];
	*place_of(core, number) = NULL; /* the place is free once those before it are */
	slot->in_flight--;
	slot->awaited--;
	if (res == -EINTR && slot->phase < CLOSING) {
		put_back(slot, packet);
		send_later(core, slot);
	} else if (res == -EAGAIN && slot->phase < CLOSING && !(slot->flags & BROKEN)) {
		found_no_room(core, slot, packet);
		go_on(core, slot);
	} else {
		packet_over(core, slot, packet, packet_error(packet, res));
	}
}

/* As stage_conclude: packets that were submitted, and of which no completion is there, are sent. */
void packets_conclude(struct rn_core *core)
{
	uint32_t count = core->packets_submitted;
	core->packets_submitted = 0;
	while (count--) {
		struct packet *packet = *place_of(core, core->packets_first);
		*place_of(core, core->packets_first) = NULL;
		core->packets_first++;
		core->packets_count--;
		if (!packet)
			continue;
		struct slot *slot = &core->slots[packet->slot];
		slot->in_flight--;
		slot->awaited--;
		packet_over(core, slot, packet, 0);
	}
}

/* Whether the turn has to go on before it may sleep: see stage_is_awaited. */
bool packets_are_awaited(const struct rn_core *core)
{
	if (core->later.count) /* they wait for the place of a send that is over */
		return true;
	for (uint32_t i = 0; i < core->packets_count; i++) {
		const struct packet *packet =
			core->packets[(core->packets_first + i) % PACKETS_AT_ONCE];
		const struct slot *slot = packet ? &core->slots[packet->slot] : NULL;
		if (slot && (slot->first || slot->phase != OPEN || slot->flags & (NOTIFY | FIN)))
			return true;
	}
	return false;
}

bool packets_are_drained(const struct slot *slot)
{
	return !slot->first && !slot->in_flight && !slot->lines;
}

/* Forget what was not sent; none is with the kernel. */
void packets_drop(struct rn_core *core, struct slot *slot)
{
	while (slot->first) {
		struct block memory = take_first(slot)->memory;
		pool_give(&core->pool, &memory);
	}
	lines_drop(core, slot);
	free(slot->inbox);
	slot->inbox = NULL;
}
