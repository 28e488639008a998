/* cancel.c: requests that are to end before they have come to anything.
 *
 * The law of this file: a request is cancelled when it has ended, and not when the cancellation was
 * answered. One that comes while the request is between two places of the kernel (its poll was woken,
 * and it is about to be tried again) finds nothing, and the request may block afterwards. So it is
 * asked for again, after a while, for as long as the request goes on and its end is wanted.
 */
#include "core.h"

/* By user_data and never by descriptor: the number may mean another socket by then. */
void cancel_request(struct rn_core *core, struct slot *slot, enum request what)
{
	slot->cancelling |= bit_of(what);
	struct io_uring_sqe *sqe = new_request(core, slot, REQ_CANCEL);
	if (sqe)
		io_uring_prep_cancel64(sqe, tag(core, slot, what), 0);
}

/* It has ended, or may go on after all. */
void forget_cancel(struct slot *slot, enum request what)
{
	slot->cancelling &= (uint8_t)~bit_of(what);
}

void on_cancel(struct rn_core *core, struct slot *slot, const struct io_uring_cqe *cqe)
{
	bool is_same = slot->generation == (uint32_t)(cqe->user_data >> 32);
	if (cqe->res < 0 && is_same && slot->role != ROLE_FREE && slot->cancelling)
		retry_later(core, slot);
}

void cancel_standing(struct rn_core *core, struct slot *slot)
{
	static const uint8_t standing[] = {
		[ROLE_LISTENER] = REQ_ACCEPT, [ROLE_STREAM] = REQ_RECV,
		[ROLE_PACKETS] = REQ_RECV, [ROLE_POLL] = REQ_POLL};
	cancel_request(core, slot, slot->flags & CONNECTING ? REQ_CONNECT : standing[slot->role]);
}

/* Those of which the last cancellation found nothing. */
void cancel_again(struct rn_core *core, struct slot *slot)
{
	if (slot->cancelling & OF_STANDING)
		cancel_standing(core, slot);
	if (slot->cancelling & OF_END)
		cancel_request(core, slot, REQ_END);
	if (slot->cancelling & OF_ROOM)
		cancel_request(core, slot, REQ_ROOM);
}

/* Sends are not among them: they are over when they are submitted. */
void cancel_all(struct rn_core *core, struct slot *slot)
{
	if (slot->flags & ARMED)
		cancel_standing(core, slot);
	if (slot->flags & WATCHED)
		cancel_request(core, slot, REQ_END);
	if (slot->flags & ROOM)
		cancel_request(core, slot, REQ_ROOM);
}
