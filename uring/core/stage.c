/* stage.c: bytes on their way out.
 *
 * The law of this file: one send in flight a stream. What is accepted meanwhile waits: large pieces
 * where they are, in a line, and small ones copied to the stage, which is behind that line and
 * becomes a flight as a whole. A flight that nothing is ahead of points to the caller's bytes, which
 * stay for the turn that brings them; in nearly every case it is over by then. Of what is left,
 * small pieces are copied; large ones are kept in place by the caller.
 *
 * A flight is first sent with MSG_DONTWAIT and IOSQE_CQE_SKIP_SUCCESS: such a request is over when
 * its submission is, and makes a completion only where the socket did not take all of it. So the
 * submission of many sends does not end the wait that goes with it, in the same system call, and
 * a send of which no completion is there afterwards has succeeded. What the socket did
 * not take at once is sent again in the same way when it has room: see room.c.
 */
#include "core.h"

#include <string.h>

#define COPY_BELOW ((size_t)16 << 10) /* bytes; referring to more is cheaper than copying it */
#define LARGEST_SEND ((size_t)1 << 30) /* sqe->len has 32 bits, and send(2) stops at 2 GiB */

/* Append to a block, which moves to a larger one where it has to: half as large again at least, so
 * that many pieces are not copied once for each of them. */
bool stage_keep(struct rn_core *core, struct block *block, const char *bytes, size_t count)
{
	size_t needed = block->used + count, grown = block->size + block->size / 2;
	if (needed > block->size) {
		struct block larger;
		if (!pool_take(&core->pool, &larger, needed > grown ? needed : grown))
			return false;
		if (block->used)
			memcpy(larger.at, block->at, block->used);
		larger.used = block->used;
		stage_free(core, block);
		*block = larger;
	}
	memcpy(block->at + block->used, bytes, count);
	block->used += count;
	return true;
}

void stage_free(struct rn_core *core, struct block *block)
{
	if (block->at)
		pool_give(&core->pool, block);
}

static bool accepts(struct rn_core *core, struct slot *slot, size_t count)
{
	if (slot->role != ROLE_STREAM || slot->phase != OPEN || slot->flags & (FIN | FIN_SENT))
		return false;
	core->shared.staged[index_of(core, slot)] += (int64_t)count;
	return !(slot->flags & BROKEN); /* a broken stream counts them as never sent */
}

/* Whether something waits behind the flight. */
bool has_waiting(const struct slot *slot)
{
	return slot->waiting || slot->stage.used;
}

bool may_send(const struct slot *slot)
{
	return !(slot->flags & (SENDING | FULL | CONNECTING | BROKEN)) && slot->phase < CLOSING;
}

/* Sends start when all commands are taken, so that many small writes of a turn are one send. */
void send_later(struct rn_core *core, struct slot *slot)
{
	if (slot->flags & SEND_LATER)
		return;
	slot->flags |= SEND_LATER;
	must_push(core, &core->later, index_of(core, slot)); /* each slot is there once */
}

void stage_start(struct rn_core *core)
{
	int64_t count = core->later.count;
	core->later.count = 0; /* a slot that has to wait again takes a place that was looked at already */
	for (int64_t i = 0; i < count; i++) {
		struct slot *slot = &core->slots[core->later.items[i]];
		slot->flags &= ~SEND_LATER;
		if (slot->role == ROLE_PACKETS)
			packets_send(core, slot);
		else
			stage_send(core, slot);
	}
}

static void stage_copy(struct rn_core *core, struct slot *slot, const char *bytes, size_t count)
{
	if (!stage_keep(core, &slot->stage, bytes, count)) {
		slot_break(core, slot, ENOMEM);
		return;
	}
	send_later(core, slot);
}

/* What is sent again for a stream in the same turn: small pieces become one flight. */
static bool join_borrowed(struct rn_core *core, struct slot *slot)
{
	if (slot->flight.used >= COPY_BELOW)
		return true;
	struct block flight = slot->flight;
	slot->flags &= ~REFERRED;
	slot->flight = (struct block){0};
	return stage_keep(core, &slot->stage, flight.at, flight.used);
}

static bool line_up(struct rn_core *core, struct slot *slot, struct block bytes)
{
	struct block memory;
	if (core->waiting_count == core->bounds.slots ||
	    !pool_take(&core->pool, &memory, sizeof(struct piece)))
		return false;
	struct piece *piece = (struct piece *)memory.at;
	*piece = (struct piece){.memory = memory, .bytes = bytes, .fresh = !bytes.size};
	if (slot->waiting)
		slot->last_waiting->next = piece;
	else
		slot->waiting = piece;
	slot->last_waiting = piece;
	core->waiting_count++;
	return true;
}

/* Makes the first of the line the flight. */
static void step_up(struct rn_core *core, struct slot *slot)
{
	struct piece *piece = slot->waiting;
	struct block memory = piece->memory;
	slot->flight = piece->bytes;
	if (!piece->bytes.size)
		slot->flags |= piece->fresh ? REFERRED : REFERRED | PINNED;
	slot->waiting = piece->next;
	core->waiting_count--;
	pool_give(&core->pool, &memory);
}

/* Have a large piece wait where it is. False where there is no room for one more, or no memory. */
static bool refer(struct rn_core *core, struct slot *slot, const char *bytes, size_t count)
{
	if (slot->stage.used) {
		if (!line_up(core, slot, slot->stage))
			return false;
		slot->stage = (struct block){0};
	}
	if (!line_up(core, slot, (struct block){.at = (char *)bytes, .used = count}))
		return false;
	note_fresh(core, slot);
	send_later(core, slot);
	return true;
}

/* What is small, or makes one send with what is staged, while nothing is ahead of that. */
static bool is_to_be_copied(const struct rn_core *core, const struct slot *slot, size_t count)
{
	if (count < COPY_BELOW)
		return true;
	return !slot->flight.used && !slot->waiting &&
	       slot->stage.used + count <= core->bounds.stage_bytes;
}

void stage_borrow(struct rn_core *core, struct slot *slot, const char *bytes, size_t count)
{
	if (!count || !accepts(core, slot, count))
		return;
	if (may_send(slot) && !slot->flight.used && !has_waiting(slot)) {
		slot->flags |= REFERRED;
		slot->flight = (struct block){.at = (char *)bytes, .used = count};
		send_later(core, slot);
	} else if (is_borrowed(slot) && !(slot->flags & SENDING) && !join_borrowed(core, slot)) {
		slot_break(core, slot, ENOMEM);
	} else if (is_to_be_copied(core, slot, count) || !refer(core, slot, bytes, count)) {
		stage_copy(core, slot, bytes, count);
	}
}

/* The flight goes on after this turn, while the caller's bytes need not stay where they are. */
static bool keep_rest(struct rn_core *core, struct slot *slot)
{
	size_t left = slot->flight.used - slot->sent;
	if (!is_borrowed(slot))
		return true;
	if (left >= COPY_BELOW) {
		note_fresh(core, slot);
		return true;
	}
	struct block own = {0};
	if (!stage_keep(core, &own, slot->flight.at + slot->sent, left))
		return false;
	slot->flags &= ~REFERRED;
	slot->flight = own;
	slot->sent = 0;
	return true;
}

static size_t next_size(const struct slot *slot)
{
	size_t left = slot->flight.used - slot->sent;
	return left < LARGEST_SEND ? left : LARGEST_SEND;
}

/* With MSG_WAITALL a short send is a failed one, and so makes a completion. */
static void submit_flight(struct rn_core *core, struct slot *slot)
{
	struct io_uring_sqe *sqe = new_request(core, slot, REQ_SEND);
	if (!sqe)
		return;
	io_uring_prep_send(sqe, slot->fd, slot->flight.at + slot->sent, next_size(slot),
			   MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT);
	slot->flags |= SENDING;
	slot->awaited++;
	if (core->inline_sends.count == core->inline_sends.room)
		return; /* this one answers in any case */
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	slot->flags |= INLINE;
	slot->ticket = core->inline_ticket + (uint32_t)core->inline_sends.count;
	must_push(core, &core->inline_sends, index_of(core, slot));
}

static void end_flight(struct rn_core *core, struct slot *slot)
{
	if (slot->flags & REFERRED) {
		if (slot->flags & PINNED)
			unpin(core, slot->flight.at);
		slot->flags &= ~(REFERRED | PINNED);
		slot->flight = (struct block){0};
	} else {
		stage_free(core, &slot->flight);
	}
	slot->sent = 0;
}

static void next_flight(struct rn_core *core, struct slot *slot)
{
	if (slot->waiting) {
		step_up(core, slot);
		return;
	}
	slot->flight = slot->stage;
	slot->stage = (struct block){0};
}

/* Send what waits, if nothing is in flight. */
void stage_send(struct rn_core *core, struct slot *slot)
{
	if (!may_send(slot))
		return;
	if (!slot->flight.used) {
		if (!has_waiting(slot))
			return;
		next_flight(core, slot);
	}
	submit_flight(core, slot);
}

/* Forget what is behind the flight and will not be sent; `staged` keeps its number, for CLOSED. */
void stage_drop_waiting(struct rn_core *core, struct slot *slot)
{
	while (slot->waiting) {
		struct piece *piece = slot->waiting;
		struct block memory = piece->memory;
		if (piece->bytes.size)
			stage_free(core, &piece->bytes);
		else if (!piece->fresh)
			unpin(core, piece->bytes.at);
		slot->waiting = piece->next;
		core->waiting_count--;
		pool_give(&core->pool, &memory);
	}
	stage_free(core, &slot->stage);
}

/* The same, and of the flight, which is not with the kernel. */
void stage_drop(struct rn_core *core, struct slot *slot)
{
	end_flight(core, slot);
	stage_drop_waiting(core, slot);
}

static bool is_passing(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOBUFS;
}

/* What the socket did not take of the flight leaves when there is room. */
static void send_rest(struct rn_core *core, struct slot *slot, int error)
{
	if (!keep_rest(core, slot)) {
		end_flight(core, slot);
		slot_break(core, slot, ENOMEM);
	} else if (error == EINTR) {
		stage_send(core, slot);
	} else {
		room_wait(core, slot, error);
	}
}

void on_send(struct rn_core *core, struct slot *slot, int res)
{
	slot->flags &= ~(SENDING | INLINE);
	slot->awaited--;
	if (res > 0) {
		slot->flags &= ~ROOM_TOLD;
		slot->sent += (size_t)res;
		core->shared.staged[index_of(core, slot)] -= res;
		core->shared.sent[index_of(core, slot)] += res;
	}
	if (slot->sent == slot->flight.used)
		end_flight(core, slot);
	if (slot->phase == CLOSING) {
		slot_end_if_quiet(core, slot);
	} else if (slot->flags & BROKEN) {
		end_flight(core, slot);
	} else if (res < 0 && !is_passing(-res)) {
		end_flight(core, slot);
		slot_break(core, slot, -res);
	} else if (slot->flight.used) {
		send_rest(core, slot, res < 0 ? -res : 0);
	} else if (has_waiting(slot)) {
		stage_send(core, slot);
	} else {
		slot_drained(core, slot);
	}
}

/* Sends that were submitted to be over at once, and of which no completion came, are done. That
 * is known when every completion that was there then has been taken: see mark() in enter.c. */
void stage_conclude(struct rn_core *core)
{
	int64_t count = core->inline_submitted;
	for (int64_t i = 0; i < count; i++) {
		struct slot *slot = &core->slots[core->inline_sends.items[i]];
		/* A slot may be there twice: once for a send that did make a completion. */
		if (slot->flags & INLINE && slot->ticket == core->inline_ticket + (uint32_t)i)
			on_send(core, slot, (int)next_size(slot));
	}
	/* What was started meanwhile stands behind them, and is not submitted yet. */
	core->inline_ticket += (uint32_t)count;
	core->inline_submitted = 0;
	shift(&core->inline_sends, count);
}

/* Whether something waits for the end of a send that will be over without a completion: then the
 * turn may not sleep before it has concluded that. */
bool stage_is_awaited(const struct rn_core *core)
{
	for (int64_t i = 0; i < core->inline_sends.count; i++) {
		const struct slot *slot = &core->slots[core->inline_sends.items[i]];
		if (slot->flags & INLINE &&
		    (has_waiting(slot) || slot->phase != OPEN || slot->flags & (NOTIFY | FIN)))
			return true;
	}
	return false;
}
