/* ring.c: the turn: which completion goes where, and what becomes an event.
 *
 * The law of this file: one call a turn. It gives back the receive buffers of the last turn,
 * takes the commands, submits and waits in one system call, and turns completions into events.
 * What needs no decision from above (a send that is done, a receive to be armed again) is
 * settled here, and the call goes on waiting.
 */
#include "core.h"

/* Requests */

uint64_t tag(const struct rn_core *core, const struct slot *slot, enum request what)
{
	return (uint64_t)slot->generation << 32 | (uint64_t)what << INDEX_BITS |
	       index_of(core, slot);
}

/* A request of a slot, for the caller to prepare (which leaves user_data as it is), or NULL when
 * the ring has failed; the turn then returns the error. */
struct io_uring_sqe *new_request(struct rn_core *core, const struct slot *slot, enum request what)
{
	struct io_uring_sqe *sqe = free_sqe(core);
	if (sqe)
		sqe->user_data = tag(core, slot, what);
	return sqe;
}

static void arm_wake(struct rn_core *core)
{
	struct io_uring_sqe *sqe = free_sqe(core);
	if (!sqe)
		return;
	io_uring_prep_read(sqe, core->shared.wake_fd, &core->wake_value, sizeof core->wake_value, 0);
	sqe->user_data = (uint64_t)REQ_WAKE << INDEX_BITS;
	core->wake_armed = true;
}

/* The other ring gets a completion of its own: cheaper than its eventfd, and sent with the rest of
 * this turn. */
void wake_other(struct rn_core *core, int ring_fd)
{
	struct io_uring_sqe *sqe = free_sqe(core);
	if (!sqe)
		return;
	io_uring_prep_msg_ring(sqe, ring_fd, 0, (uint64_t)REQ_WOKEN << INDEX_BITS, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = (uint64_t)REQ_WAKE_OTHER << INDEX_BITS;
}

/* Events */

void emit(struct rn_core *core, int64_t handle, int kind, int64_t a, int64_t b)
{
	int64_t *event = core->shared.events + 4 * (size_t)core->event_count++;
	event[0] = handle;
	event[1] = kind;
	event[2] = a;
	event[3] = b;
}

void owe(struct rn_core *core, struct slot *slot, unsigned what)
{
	slot->owed |= (uint8_t)what;
	if (slot->flags & IS_OWED)
		return;
	uint32_t index = index_of(core, slot);
	slot->flags |= IS_OWED;
	slot->next_owed = NO_SLOT;
	if (core->owed.head == NO_SLOT)
		core->owed.head = index;
	else
		core->slots[core->owed.tail].next_owed = index;
	core->owed.tail = index;
}

void tell(struct rn_core *core, const struct slot *slot, int kind, int64_t a, int64_t b)
{
	if (may_tell(slot))
		emit(core, handle_of(core, slot), kind, a, b);
}

static void pay(struct rn_core *core, struct slot *slot)
{
	int64_t handle = handle_of(core, slot);
	unsigned due = slot->owed & -(unsigned)slot->owed; /* the lowest bit comes first */
	slot->owed &= (uint8_t)~due;
	if (due == OWE_DRAINED) {
		emit(core, handle, RN_DRAINED, 0, 0);
	} else if (due == OWE_SHUT) {
		emit(core, handle, RN_SHUT, 0, 0);
	} else if (due == OWE_ERROR) {
		emit(core, handle, RN_ERROR, -slot->error, 0);
	} else if (due == OWE_CLOSED) {
		uint32_t index = index_of(core, slot);
		emit(core, handle, RN_CLOSED, core->shared.staged[index], -slot->error);
		slot->role = ROLE_FREE;
		core->shared.live[index] = 0;
		core->shared.staged[index] = 0;
		core->shared.sent[index] = 0;
	}
}

static void pay_all(struct rn_core *core)
{
	while (core->owed.head != NO_SLOT && has_room(core)) {
		struct slot *slot = &core->slots[core->owed.head];
		if (slot->owed)
			pay(core, slot);
		if (!slot->owed) {
			core->owed.head = slot->next_owed;
			slot->flags &= ~IS_OWED;
		}
	}
}

/* Completions */

static void on_wake(struct rn_core *core)
{
	core->wake_armed = false;
	emit(core, 0, RN_WOKEN, 0, 0);
}

static void dispatch(struct rn_core *core, const struct io_uring_cqe *cqe)
{
	enum request what = cqe->user_data >> INDEX_BITS & 0xff;
	uint32_t index = cqe->user_data & INDEX_MASK;
	if (what == REQ_PACKET) {
		on_packet_sent(core, index, cqe->res);
		return;
	}
	struct slot *slot = &core->slots[index];
	switch (what) {
	case REQ_NONE:
	case REQ_PACKET:
		return;
	case REQ_FENCE:
		core->is_fenced = false;
		return;
	case REQ_WOKEN:
		emit(core, 0, RN_WOKEN, 0, 0);
		return;
	case REQ_WAKE_OTHER:
		if (cqe->res < 0)
			emit(core, 0, RN_REFUSED, cqe->res, 0);
		return;
	case REQ_WAKE:
		on_wake(core);
		return;
	case REQ_ACCEPT:
		on_accept(core, slot, cqe->res, cqe->flags);
		return;
	case REQ_CONNECT:
		on_connect(core, slot, cqe->res);
		return;
	case REQ_RECV:
		if (slot->role == ROLE_PACKETS)
			on_packet_received(core, slot, cqe->res, cqe->flags);
		else
			on_recv(core, slot, cqe->res, cqe->flags);
		return;
	case REQ_SEND:
		on_send(core, slot, cqe->res);
		return;
	case REQ_POLL:
		on_poll(core, slot, cqe->res, cqe->flags);
		return;
	case REQ_END:
		on_peer_end(core, slot, cqe->res, cqe->flags);
		return;
	case REQ_ROOM:
		on_room(core, slot, cqe->res, cqe->flags);
		return;
	case REQ_CANCEL:
		on_cancel(core, slot, cqe);
		return;
	}
}

/* Each completion makes at most one event by itself, so a free place is enough to take one. */
static void reap(struct rn_core *core)
{
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0;
	io_uring_for_each_cqe(&core->ring, head, cqe)
	{
		if (!has_room(core))
			break;
		dispatch(core, cqe);
		seen++;
	}
	io_uring_cq_advance(&core->ring, seen);
}

/* The turn */

/* Neither slots that are owed an event in every turn, nor a queue that is never empty, may take all the
 * room there is in every turn. */
static void take_completions(struct rn_core *core)
{
	if (core->owed_first)
		pay_all(core);
	reap(core);
	if (passed_mark(core)) {
		stage_conclude(core);
		packets_conclude(core);
	}
	pay_all(core);
}

static int gather(struct rn_core *core, int64_t timeout_ns)
{
	int64_t deadline = timeout_ns > 0 ? now_ns() + timeout_ns : 0;
	for (unsigned round = 0; round < MOST_ROUNDS; round++) {
		if (!core->event_count)
			give_back_lent(core); /* no event of this turn points into them */
		feed_starved(core);
		retry_due(core);
		stage_start(core);
		bool idle = !core->event_count && !core->held_count &&
			    core->owed.head == NO_SLOT && !is_anyone_starved(core) &&
			    !io_uring_cq_ready(&core->ring) && !stage_is_awaited(core) &&
			    !packets_are_awaited(core);
		int ret = enter(core, idle, retry_timeout(core, timeout_ns));
		if (ret < 0)
			return ret;
		if (core->failure)
			return -core->failure;
		take_completions(core);
		if (core->failure)
			return -core->failure;
		/* Also without an event: what need not stay any more is not kept until there is one. */
		if (core->event_count || core->shared.released.count || timeout_ns == 0)
			return 0;
		if (timeout_ns > 0) {
			timeout_ns = deadline - now_ns();
			if (timeout_ns <= 0)
				return 0;
		}
	}
	return 0;
}

int rn_turn(struct rn_core *core, const char *commands, int64_t size, int64_t timeout_ns)
{
	core->event_count = 0;
	core->owed_first = !core->owed_first;
	core->shared.pinned.count = 0;
	core->shared.released.count = 0;
	core->empty_count = 0;
	if (!core->wake_armed)
		arm_wake(core);
	int ret = take_commands(core, commands, size);
	if (!ret)
		ret = gather(core, timeout_ns);
	stage_pin(core);
	return ret < 0 ? ret : (int)core->event_count;
}
