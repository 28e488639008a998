/* packets.c: sockets that keep message boundaries (datagrams, and packets of a connection).
 *
 * The law of this file: a packet is sent whole or not at all, and in the order of the calls where
 * the socket keeps an order. It is copied when it is taken up, and its memory is kept until the
 * kernel is done with it. As in stage.c, a packet is first sent by a request that is over when it
 * is submitted and makes a completion only where it failed.
 */
#include "core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum state {
	IMMEDIATE, /* over when it is submitted */
	WAITS,	   /* for room in the socket */
	OVER
};

struct packet {
	struct packet *next;
	struct block memory; /* of the packet itself */
	struct msghdr message;
	struct iovec bytes;
	uint32_t slot;
	uint8_t state;
	bool listed; /* among the inline ones: its number is not free before they are concluded */
	char name[];
};

/* Where a kernel without multishot receive puts what is not the bytes. */
struct inbox {
	struct msghdr message;
	struct iovec bytes;
	char name[RN_NAME_ROOM];
};

/* Receiving */

static bool keeps_order(int fd)
{
	int domain = 0;
	socklen_t size = sizeof domain;
	bool known = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0;
	return known && domain != AF_INET && domain != AF_INET6;
}

static bool is_connection(int fd)
{
	int type = 0;
	socklen_t size = sizeof type;
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

void packets_adopt(struct rn_core *core, struct slot *slot)
{
	slot->flags |= (keeps_order(slot->fd) ? ORDERED : 0) |
		       (is_connection(slot->fd) ? HAS_END : 0);
	int ret = group_open(core, PACKET_GROUP);
	if (!ret && !core->multishot_recv) {
		slot->inbox = calloc(1, sizeof *slot->inbox);
		ret = slot->inbox ? 0 : -ENOMEM;
	}
	if (ret < 0)
		slot_break(core, slot, -ret);
	else
		slot_read(core, slot);
}

static struct msghdr *prepare_inbox(struct rn_core *core, struct inbox *inbox)
{
	inbox->bytes = (struct iovec){.iov_len = core->groups[PACKET_GROUP].size};
	inbox->message = (struct msghdr){
		.msg_name = inbox->name,
		.msg_namelen = sizeof inbox->name,
		.msg_iov = &inbox->bytes,
		.msg_iovlen = 1,
	};
	return &inbox->message;
}

void packets_receive(struct rn_core *core, struct slot *slot)
{
	static struct msghdr only_name = {.msg_namelen = RN_NAME_ROOM};
	struct io_uring_sqe *sqe = new_request(core, slot, REQ_RECV);
	if (!sqe)
		return;
	if (slot->inbox)
		io_uring_prep_recvmsg(sqe, slot->fd, prepare_inbox(core, slot->inbox), 0);
	else
		io_uring_prep_recvmsg_multishot(sqe, slot->fd, &only_name, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = PACKET_GROUP;
	slot_arm(slot);
}

/* What a receive tells, in the form of a multishot one, at the head of its buffer. */
static struct io_uring_recvmsg_out *head_of(struct slot *slot, char *buffer, int res)
{
	struct io_uring_recvmsg_out *head = (void *)buffer;
	if (slot->inbox) {
		*head = (struct io_uring_recvmsg_out){
			.namelen = slot->inbox->message.msg_namelen,
			.payloadlen = (uint32_t)res,
			.flags = (uint32_t)slot->inbox->message.msg_flags,
		};
		memcpy(head + 1, slot->inbox->name, RN_NAME_ROOM);
	}
	if (head->namelen > RN_NAME_ROOM)
		head->namelen = RN_NAME_ROOM;
	return head;
}

/* Whether the packet was not the end of a connection, which looks like an empty one. */
static bool take_packet(struct rn_core *core, struct slot *slot, int res, unsigned id)
{
	struct group *group = &core->groups[PACKET_GROUP];
	char *buffer = core->shared.memory + buffer_offset(group, id);
	struct io_uring_recvmsg_out *head = head_of(slot, buffer, res);
	bool is_end = slot->flags & HAS_END && !head->payloadlen;
	if (is_end || slot->phase != OPEN || slot->flags & BROKEN) {
		group_give_back(core, group, id);
	} else if (head->flags & MSG_TRUNC) {
		group_give_back(core, group, id);
		emit(core, handle_of(core, slot), RN_TRUNCATED, 0, 0);
	} else {
		slot->flags |= SERVED;
		lend(group, id);
		emit(core, handle_of(core, slot), RN_DATAGRAM,
		     (char *)(head + 1) - core->shared.memory,
		     (int64_t)head->namelen << 32 | head->payloadlen);
	}
	return !is_end;
}

/* A single receive of an empty packet takes no buffer. */
static void take_empty(struct rn_core *core, struct slot *slot)
{
	size_t at = core->empty_offset + core->empty_count * (size_t)RN_NAME_ROOM;
	if (slot->phase != OPEN || slot->flags & BROKEN)
		return;
	if (core->empty_count == core->groups[PACKET_GROUP].count) {
		emit(core, handle_of(core, slot), RN_REFUSED, -ENOBUFS, 0);
		return;
	}
	core->empty_count++;
	memcpy(core->shared.memory + at, slot->inbox->name, RN_NAME_ROOM);
	emit(core, handle_of(core, slot), RN_DATAGRAM, (int64_t)at,
	     (int64_t)slot->inbox->message.msg_namelen << 32);
}

static bool breaks_the_socket(const struct slot *slot, int error)
{
	/* Without a connection an error is about one packet that was sent before. */
	return slot->flags & HAS_END || error == EBADF || error == ENOTSOCK || error == EINVAL;
}

static void receive_failed(struct rn_core *core, struct slot *slot, int error)
{
	if (error == ENOBUFS) {
		starve(core, slot);
	} else if (error == ECANCELED || error == EINTR ||
		   (error == EAGAIN && make_blocking(slot->fd))) {
		slot_read(core, slot);
	} else if (breaks_the_socket(slot, error)) {
		slot_break(core, slot, error);
	} else {
		if (slot->phase == OPEN)
			emit(core, handle_of(core, slot), RN_REFUSED, -error, 0);
		slot_read(core, slot);
	}
}

void on_packet_received(struct rn_core *core, struct slot *slot, int res, unsigned flags)
{
	bool goes_on = true;
	if (!(flags & IORING_CQE_F_MORE))
		slot_disarm(slot);
	if (flags & IORING_CQE_F_BUFFER && res >= 0)
		goes_on = take_packet(core, slot, res, flags >> IORING_CQE_BUFFER_SHIFT);
	else if (flags & IORING_CQE_F_BUFFER)
		group_give_back(core, &core->groups[PACKET_GROUP],
				flags >> IORING_CQE_BUFFER_SHIFT);
	else if (res == 0 && slot->flags & HAS_END)
		goes_on = false;
	else if (res == 0 && slot->inbox)
		take_empty(core, slot);

	if (slot->phase == CLOSING)
		slot_end_if_quiet(core, slot);
	else if (!goes_on)
		slot_take_end(core, slot);
	else if (res >= 0)
		slot_read(core, slot);
	else
		receive_failed(core, slot, -res);
}

/* Sending */

void packets_keep(struct rn_core *core, struct slot *slot, const char *name, size_t name_size,
		  const char *bytes, size_t count)
{
	struct block memory;
	struct packet *packet;
	if (slot->role != ROLE_PACKETS || slot->phase != OPEN || slot->flags & (FIN | FIN_SENT))
		return;
	core->shared.staged[index_of(core, slot)] += (int64_t)count;
	if (slot->flags & BROKEN)
		return; /* counted as never sent */
	if (!pool_take(&core->pool, &memory, sizeof *packet + name_size + count)) {
		slot_break(core, slot, ENOMEM);
		return;
	}
	packet = (struct packet *)memory.at;
	*packet = (struct packet){.memory = memory, .slot = index_of(core, slot)};
	memcpy(packet->name, name, name_size);
	memcpy(packet->name + name_size, bytes, count);
	packet->bytes = (struct iovec){packet->name + name_size, count};
	packet->message = (struct msghdr){
		.msg_name = name_size ? packet->name : NULL,
		.msg_namelen = (socklen_t)name_size,
		.msg_iov = &packet->bytes,
		.msg_iovlen = 1,
	};
	if (slot->last)
		slot->last->next = packet;
	else
		slot->first = packet;
	slot->last = packet;
	send_later(core, slot);
}

static void submit(struct rn_core *core, struct slot *slot, uint32_t number)
{
	struct packet *packet = core->packets[number];
	struct io_uring_sqe *sqe = free_sqe(core);
	if (!sqe)
		return;
	bool at_once = packet->state == IMMEDIATE;
	int how = MSG_NOSIGNAL | (at_once ? MSG_DONTWAIT : 0);
	if (core->send_takes_name) {
		io_uring_prep_send(sqe, slot->fd, packet->bytes.iov_base, packet->bytes.iov_len, how);
		io_uring_prep_send_set_addr(sqe, packet->message.msg_name,
					    (uint16_t)packet->message.msg_namelen);
	} else {
		io_uring_prep_sendmsg(sqe, slot->fd, &packet->message, (unsigned)how);
	}
	sqe->user_data = (uint64_t)REQ_PACKET << INDEX_BITS | number;
	if (at_once) {
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		packet->listed = true;
		must_push(core, &core->inline_packets, number);
	}
}

static uint32_t in_flight(const struct slot *slot)
{
	return slot->awaited - !!(slot->flags & ARMED);
}

/* Send those that wait in the slot, as many as may be with the kernel. */
void packets_send(struct rn_core *core, struct slot *slot)
{
	while (slot->first && may_send(slot) && !slot->blocked &&
	       !(slot->flags & ORDERED && in_flight(slot))) {
		if (!core->packets_free) {
			send_later(core, slot);
			return;
		}
		uint32_t number = core->packet_numbers[--core->packets_free];
		core->packets[number] = slot->first;
		slot->first = slot->first->next;
		if (!slot->first)
			slot->last = NULL;
		slot->awaited++;
		submit(core, slot, number);
	}
}

static void free_number(struct rn_core *core, uint32_t number)
{
	struct block memory = core->packets[number]->memory;
	core->packets[number] = NULL;
	core->packet_numbers[core->packets_free++] = number;
	pool_give(&core->pool, &memory);
}

/* The kernel is done with a packet; `error` is a positive errno or 0. */
static void packet_over(struct rn_core *core, uint32_t number, int error)
{
	struct packet *packet = core->packets[number];
	struct slot *slot = &core->slots[packet->slot];
	int64_t count = (int64_t)packet->bytes.iov_len;
	bool lost = error && (slot->flags & HAS_END || slot->phase >= CLOSING);
	slot->awaited--;
	slot->blocked -= packet->state == WAITS;
	if (!lost)
		core->shared.staged[packet->slot] -= count;
	core->shared.sent[packet->slot] += lost ? 0 : count;
	packet->state = OVER;
	if (!packet->listed)
		free_number(core, number);

	if (slot->phase == CLOSING)
		slot_end_if_quiet(core, slot);
	else if (error && slot->flags & HAS_END)
		slot_break(core, slot, error);
	else if (error && slot->phase == OPEN)
		emit(core, handle_of(core, slot), RN_REFUSED, -error, 0);
	if (slot->phase >= CLOSING)
		return;
	if (slot->first)
		send_later(core, slot);
	else if (slot_is_drained(slot))
		slot_drained(core, slot);
}

void on_packet_sent(struct rn_core *core, uint32_t number, int res)
{
	struct packet *packet = core->packets[number];
	struct slot *slot = &core->slots[packet->slot];
	bool waited = packet->state == WAITS;
	bool again = res == -EINTR || (res == -EAGAIN && (!waited || make_blocking(slot->fd)));
	if (again && slot->phase < CLOSING) {
		slot->blocked += !waited;
		packet->state = WAITS;
		submit(core, slot, number);
	} else {
		packet_over(core, number, res < 0 ? -res : 0);
	}
}

/* As stage_conclude: packets that were submitted, and of which no completion is there, are sent. */
void packets_conclude(struct rn_core *core)
{
	int64_t count = core->inline_packets_submitted;
	if (!count || io_uring_cq_ready(&core->ring) || io_uring_cq_has_overflow(&core->ring))
		return;
	for (int64_t i = 0; i < count; i++) {
		uint32_t number = (uint32_t)core->inline_packets.items[i];
		struct packet *packet = core->packets[number];
		packet->listed = false;
		if (packet->state == IMMEDIATE)
			packet_over(core, number, 0);
		else if (packet->state == OVER)
			free_number(core, number);
	}
	core->inline_packets_submitted = 0;
	shift(&core->inline_packets, count);
}

/* Whether the turn has to go on before it may sleep: see stage_is_awaited. */
bool packets_are_awaited(const struct rn_core *core)
{
	/* Without a free number they wait for a completion. */
	if (core->later.count && (core->packets_free || core->inline_packets.count))
		return true;
	for (int64_t i = 0; i < core->inline_packets.count; i++) {
		const struct packet *packet = core->packets[core->inline_packets.items[i]];
		const struct slot *slot = &core->slots[packet->slot];
		if (packet->state == IMMEDIATE &&
		    (slot->first || slot->phase != OPEN || slot->flags & (NOTIFY | FIN)))
			return true;
	}
	return false;
}

/* The ends */

void packets_cancel(struct rn_core *core, struct slot *slot)
{
	for (uint32_t i = 0; i < PACKETS_AT_ONCE && in_flight(slot); i++) {
		const struct packet *packet = core->packets[i];
		if (!packet || packet->slot != index_of(core, slot) || packet->state != WAITS)
			continue;
		struct io_uring_sqe *sqe = free_sqe(core);
		if (!sqe)
			return;
		io_uring_prep_cancel64(sqe, (uint64_t)REQ_PACKET << INDEX_BITS | i, 0);
		sqe->user_data = REQ_NONE;
	}
}

/* Forget what was not sent; none is with the kernel. */
void packets_drop(struct rn_core *core, struct slot *slot)
{
	while (slot->first) {
		struct block memory = slot->first->memory;
		slot->first = slot->first->next;
		pool_give(&core->pool, &memory);
	}
	slot->last = NULL;
	free(slot->inbox);
	slot->inbox = NULL;
}
