/* inbox.c: packets that arrive.
 *
 * The law of this file: a packet is reported with its sender, and a truncated packet is never taken
 * for a whole one.
 */
#include "core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Where a kernel without multishot receive puts what is not the bytes. */
struct inbox {
	struct msghdr message;
	struct iovec bytes;
	_Alignas(8) char name[RN_NAME_ROOM];
};

static uint32_t kind_of(int fd)
{
	int domain = 0;
	socklen_t size = sizeof domain;
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
		return 0;
	if (domain != AF_INET && domain != AF_INET6)
		return ORDERED;
	return (domain == AF_INET6 ? IS_V6 : 0) | (tells_local(fd) ? TELLS_LOCAL : 0);
}

static bool is_connection(int fd)
{
	int type = 0;
	socklen_t size = sizeof type;
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

void packets_adopt(struct rn_core *core, struct slot *slot)
{
	slot->flags |= kind_of(slot->fd) | (is_connection(slot->fd) ? HAS_END : 0);
	if (!core->multishot_recv)
		slot->inbox = calloc(1, sizeof *slot->inbox);
	if (core->multishot_recv || slot->inbox)
		slot_read(core, slot);
	else
		slot_break(core, slot, ENOMEM);
}

static struct msghdr *prepare_inbox(struct rn_core *core, const struct slot *slot)
{
	struct inbox *inbox = slot->inbox;
	bool is_told = slot->flags & TELLS_LOCAL;
	inbox->bytes = (struct iovec){.iov_len = core->groups[PACKET_GROUP].size};
	inbox->message = (struct msghdr){
		.msg_name = inbox->name,
		.msg_namelen = RN_LOCAL_AT,
		.msg_control = is_told ? inbox->name + RN_LOCAL_AT : NULL,
		.msg_controllen = is_told ? RN_NAME_ROOM - RN_LOCAL_AT : 0,
		.msg_iov = &inbox->bytes,
		.msg_iovlen = 1,
	};
	return &inbox->message;
}

void packets_receive(struct rn_core *core, struct slot *slot)
{
	static struct msghdr only_name = {.msg_namelen = RN_NAME_ROOM};
	static struct msghdr with_local = {.msg_namelen = RN_LOCAL_AT,
					   .msg_controllen = RN_NAME_ROOM - RN_LOCAL_AT};
	struct msghdr *message = slot->flags & TELLS_LOCAL ? &with_local : &only_name;
	struct io_uring_sqe *sqe = new_request(core, slot, REQ_RECV);
	if (!sqe)
		return;
	if (slot->inbox)
		io_uring_prep_recvmsg(sqe, slot->fd, prepare_inbox(core, slot), 0);
	else
		io_uring_prep_recvmsg_multishot(sqe, slot->fd, message, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = PACKET_GROUP;
	slot_arm(slot);
}

/* The header of a multishot receive, made for a single one, at the head of its buffer. */
static struct io_uring_recvmsg_out *head_of(struct slot *slot, char *buffer, int res)
{
	struct io_uring_recvmsg_out *head = (void *)buffer;
	if (slot->inbox) {
		*head = (struct io_uring_recvmsg_out){
			.namelen = slot->inbox->message.msg_namelen,
			.controllen = (uint32_t)slot->inbox->message.msg_controllen,
			.payloadlen = (uint32_t)res,
			.flags = (uint32_t)slot->inbox->message.msg_flags,
		};
		memcpy(head + 1, slot->inbox->name, RN_NAME_ROOM);
	}
	if (head->namelen > RN_LOCAL_AT)
		head->namelen = RN_LOCAL_AT;
	if (slot->flags & TELLS_LOCAL)
		local_of((char *)(head + 1) + RN_LOCAL_AT, head->controllen, slot->flags & IS_V6);
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
	if (slot->flags & TELLS_LOCAL)
		local_of(slot->inbox->name + RN_LOCAL_AT, slot->inbox->message.msg_controllen,
			 slot->flags & IS_V6);
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
	} else if (error == ECANCELED || error == EINTR) {
		slot_read(core, slot);
	} else if (error == EAGAIN) {
		wait_readable(core, slot);
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
	if (took_readable(core, slot, res))
		return;
	if (!(flags & IORING_CQE_F_MORE))
		slot_disarm(slot);
	if (res != -EAGAIN)
		slot->flags &= ~READ_TOLD;
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
