/* slots.c: the life of a handle, from its first command to its final event.
 *
 * The law of this file: a slot ends exactly once, and not before the kernel has given the final
 * completion of every request made for it (`awaited`). Only then is its descriptor closed, so no
 * request can meet a descriptor number that means something else by now.
 */
#include "core.h"

#include <sys/socket.h>

int slot_start(struct rn_core *core, int64_t handle, enum role role, int fd, struct slot **out)
{
	uint32_t index = (uint32_t)handle & INDEX_MASK;
	struct slot *slot = &core->slots[index];
	if (slot->role != ROLE_FREE)
		return -EBUSY;
	*slot = (struct slot){
		.generation = (uint32_t)(handle >> INDEX_BITS),
		.fd = fd,
		.flags = slot->flags & (SEND_LATER | RETRIES), /* the index is in those lists still */
		.role = (uint8_t)role,
		.next_owed = NO_SLOT,
		.next_starved = NO_SLOT,
		.last_starved = NO_SLOT,
	};
	core->shared.staged[index] = 0;
	core->shared.sent[index] = 0;
	core->shared.live[index] = 1;
	if (index >= core->slots_used)
		core->slots_used = index + 1;
	*out = slot;
	return 0;
}

void slot_arm(struct slot *slot)
{
	slot->flags |= ARMED;
	slot->awaited++;
}

void slot_disarm(struct slot *slot)
{
	slot->flags &= ~ARMED;
	slot->cancelling &= (uint8_t)~OF_STANDING;
	slot->awaited--;
}

/* Streams: reading */

static bool receives_many(const struct rn_core *core, const struct slot *slot)
{
	return core->multishot_recv && !(slot->flags & END_SEEN) && slot->phase == OPEN;
}

static void receive(struct rn_core *core, struct slot *slot, struct io_uring_sqe *sqe)
{
	if (receives_many(core, slot))
		io_uring_prep_recv_multishot(sqe, slot->fd, NULL, 0, 0);
	else
		io_uring_prep_recv(sqe, slot->fd, NULL, core->bounds.buffer_size, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = STREAM_GROUP;
}

/* What is dropped takes no buffer from slots that read. TCP does not even copy it. */
static void receive_nothing(struct rn_core *core, struct slot *slot, struct io_uring_sqe *sqe)
{
	io_uring_prep_recv(sqe, slot->fd, core->nowhere, DROPPED_AT_ONCE, MSG_TRUNC);
}

void slot_read(struct rn_core *core, struct slot *slot)
{
	struct io_uring_sqe *sqe;
	if (slot->flags & (ARMED | BROKEN | PEER_ENDED | CONNECTING) || slot->phase >= CLOSING)
		return;
	if (slot->flags & PAUSED && slot->phase == OPEN)
		return;
	if (slot->role == ROLE_PACKETS) {
		packets_receive(core, slot);
		return;
	}
	sqe = new_request(core, slot, REQ_RECV);
	if (!sqe)
		return;
	if (slot->phase == OPEN)
		receive(core, slot, sqe);
	else
		receive_nothing(core, slot, sqe);
	slot_arm(slot);
}

void slot_adopt(struct rn_core *core, struct slot *slot)
{
	watch_peer_end(core, slot);
	slot_read(core, slot);
}

static void take_data(struct rn_core *core, struct slot *slot, int res, unsigned flags)
{
	struct group *group = &core->groups[STREAM_GROUP];
	slot->flags &= ~READ_TOLD;
	if (may_tell(slot)) {
		slot->flags |= SERVED;
		size_t at = take_buffer(group, flags, (size_t)res);
		emit(core, handle_of(core, slot), RN_DATA, (int64_t)at, res);
	} else if (flags & IORING_CQE_F_BUFFER) {
		drop_buffer(core, group, flags, (size_t)res);
	}
}

/* The next receive, behind the slots that wait for buffers if it needs one. */
static void read_on(struct rn_core *core, struct slot *slot, int res)
{
	bool takes_turns = res > 0 && !receives_many(core, slot) && is_anyone_starved(core);
	if (slot->phase == OPEN && (takes_turns || res == -ENOBUFS))
		starve(core, slot);
	else
		slot_read(core, slot);
}

void slot_take_end(struct rn_core *core, struct slot *slot)
{
	if (!(slot->flags & PEER_ENDED))
		tell(core, slot, RN_EOF, 0, 0);
	slot->flags |= PEER_ENDED;
	if (slot->phase == LINGERING)
		enter_closing(core, slot);
	else
		watch_peer_end_on(core, slot);
}

void on_recv(struct rn_core *core, struct slot *slot, int res, unsigned flags)
{
	if (took_readable(core, slot, res))
		return;
	if (!(flags & IORING_CQE_F_MORE))
		slot_disarm(slot);
	if (res > 0)
		take_data(core, slot, res, flags);
	else if (flags & IORING_CQE_F_BUFFER)
		drop_buffer(core, &core->groups[STREAM_GROUP], flags, 0);

	if (slot->phase == CLOSING)
		slot_end_if_quiet(core, slot);
	else if (res == 0)
		slot_take_end(core, slot);
	else if (res > 0 || res == -ECANCELED || res == -EINTR || res == -ENOBUFS)
		read_on(core, slot, res);
	else if (res == -EAGAIN)
		wait_readable(core, slot);
	else
		slot_break(core, slot, -res);
}

/* Pausing */

void slot_pause(struct rn_core *core, struct slot *slot)
{
	if (slot->role == ROLE_POLL || slot->flags & PAUSED || slot->phase != OPEN)
		return;
	slot->flags |= PAUSED;
	if (slot->flags & ARMED && !(slot->flags & CONNECTING))
		cancel_standing(core, slot);
}

void slot_resume(struct rn_core *core, struct slot *slot)
{
	if (!(slot->flags & PAUSED) || slot->phase != OPEN)
		return;
	slot->flags &= ~PAUSED;
	slot->cancelling &= (uint8_t)~OF_STANDING;
	/* Where the cancelled request has not ended yet, its last completion starts the next. */
	if (slot->role == ROLE_LISTENER)
		slot_listen(core, slot);
	else if (slot->flags & PEER_ENDED)
		check_for_reset(core, slot);
	else
		slot_read(core, slot);
}

/* The ends */

void slot_break(struct rn_core *core, struct slot *slot, int error)
{
	if (slot->flags & BROKEN || slot->phase >= CLOSING)
		return;
	slot->flags |= BROKEN;
	slot->error = error;
	if (slot->phase == OPEN)
		owe(core, slot, OWE_ERROR);
	else
		enter_closing(core, slot);
}

static bool has_end(const struct slot *slot)
{
	return slot->role == ROLE_STREAM || slot->flags & HAS_END;
}

static bool carries_data(const struct slot *slot)
{
	return slot->role == ROLE_STREAM || slot->role == ROLE_PACKETS;
}

static void end_our_side(struct rn_core *core, struct slot *slot)
{
	if (!(slot->flags & FIN_SENT) && has_end(slot)) {
		slot->flags |= FIN_SENT;
		/* Fails only where the peer's reset came first, which the next receive finds. */
		(void)shutdown(slot->fd, SHUT_WR);
	}
	if (slot->phase == FLUSHING && (slot->flags & PEER_ENDED || !has_end(slot))) {
		enter_closing(core, slot);
		return;
	}
	if (slot->phase == FLUSHING)
		slot->phase = LINGERING;
	owe(core, slot, OWE_SHUT);
}

bool slot_is_drained(const struct slot *slot)
{
	if (slot->role == ROLE_PACKETS)
		return packets_are_drained(slot);
	return !(slot->flags & SENDING) && !slot->flight.used && !has_waiting(slot);
}

/* Nothing is staged and nothing in flight: do what waited for that. */
void slot_drained(struct rn_core *core, struct slot *slot)
{
	if (slot->flags & (BROKEN | CONNECTING))
		return;
	if (slot->flags & ROOM)
		cancel_request(core, slot, REQ_ROOM);
	if (slot->flags & NOTIFY) {
		slot->flags &= ~NOTIFY;
		owe(core, slot, OWE_DRAINED);
	}
	if (slot->phase == FLUSHING || (slot->flags & FIN && !(slot->flags & FIN_SENT)))
		end_our_side(core, slot);
}

void slot_notify(struct rn_core *core, struct slot *slot)
{
	if (!carries_data(slot) || slot->phase != OPEN)
		return;
	slot->flags |= NOTIFY;
	if (slot_is_drained(slot))
		slot_drained(core, slot);
}

void slot_shutdown(struct rn_core *core, struct slot *slot)
{
	if (!has_end(slot) || slot->phase != OPEN || slot->flags & FIN)
		return;
	slot->flags |= FIN;
	if (slot_is_drained(slot))
		slot_drained(core, slot);
}

void enter_closing(struct rn_core *core, struct slot *slot)
{
	slot->phase = CLOSING;
	if (slot->role == ROLE_STREAM)
		stage_drop_waiting(core, slot);
	cancel_all(core, slot);
	slot_end_if_quiet(core, slot);
}

/* From here on what arrives is dropped, also if it was paused, and the end is seen. */
static void drop_arrivals(struct rn_core *core, struct slot *slot)
{
	unstarve(core, slot);
	if (slot->role == ROLE_STREAM && slot->flags & ARMED)
		cancel_standing(core, slot); /* its last completion makes the next */
	slot_read(core, slot);
}

void slot_close(struct rn_core *core, struct slot *slot, int mode)
{
	if (mode == RN_GRACEFUL && slot->phase != OPEN)
		return; /* it ends softly already, or harder */
	if (slot->phase >= CLOSING) {
		slot->flags |= mode == RN_RESET ? BY_RESET : 0;
		slot->flags &= ~LATE_TOO;
		return;
	}
	slot->flags &= ~NOTIFY;
	slot->owed = 0; /* nothing else is reported any more; CLOSED is not owed yet */
	if (mode == RN_RESET)
		slot->flags |= BY_RESET;
	if (mode == RN_LEAVE)
		slot->flags |= FIN_SENT; /* whether, and when, is up to others */
	if (mode == RN_GRACEFUL && slot->role == ROLE_LISTENER)
		slot->flags |= LATE_TOO;
	if (mode != RN_GRACEFUL || !carries_data(slot) ||
	    slot->flags & (BROKEN | CONNECTING)) {
		enter_closing(core, slot);
	} else if (slot->phase == OPEN) {
		slot->phase = FLUSHING;
		drop_arrivals(core, slot);
		if (slot_is_drained(slot))
			slot_drained(core, slot);
	}
}

/* The end itself, once no completion is awaited any more. */
void slot_end_if_quiet(struct rn_core *core, struct slot *slot)
{
	if (slot->phase != CLOSING || slot->awaited)
		return;
	slot->phase = ENDED;
	unstarve(core, slot);
	if (slot->role != ROLE_POLL)
		close_used(slot);
	if (slot->role == ROLE_STREAM)
		stage_drop(core, slot);
	else if (slot->role == ROLE_PACKETS)
		packets_drop(core, slot);
	owe(core, slot, OWE_CLOSED);
}
