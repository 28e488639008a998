/* changes.c: polls, and polls that report changes only.
 *
 * A poll always reports errors and hang-ups, and where there is one it does so at once. A poll for
 * changes does so once, stays, and reports what is new; but the kernel ends it when the completion
 * queue has no place for it.
 *
 * The law of this file: then it is made again after a while, and of many a few at a time. Made at once
 * it would report the same and find no place again, and a queue that is always full serves nothing.
 */
#include "core.h"

uint8_t bit_of(enum request what)
{
	return what == REQ_END ? OF_END : what == REQ_ROOM ? OF_ROOM : OF_STANDING;
}

/* False when the ring has failed; the turn then returns the error. */
bool make_poll(struct rn_core *core, struct slot *slot, enum request what, uint32_t mask,
	       bool for_changes)
{
	struct io_uring_sqe *sqe = new_request(core, slot, what);
	if (!sqe)
		return false;
	slot->changes &= (uint8_t)~bit_of(what);
	if (for_changes) {
		io_uring_prep_poll_multishot(sqe, slot->fd, mask);
		slot->changes |= bit_of(what);
	} else {
		io_uring_prep_poll_add(sqe, slot->fd, mask);
	}
	return true;
}

/* Of a poll that has ended and goes on: whether it is made again later, and not now. */
bool goes_on_later(struct rn_core *core, struct slot *slot, enum request what)
{
	uint8_t bit = bit_of(what);
	if (!(slot->changes & bit))
		return false;
	slot->lost |= bit;
	retry_later(core, slot);
	return true;
}

/* A while after. Returns how many requests it took. That for room follows a send: see room.c. */
uint32_t changes_retry(struct rn_core *core, struct slot *slot)
{
	uint8_t lost = slot->lost;
	slot->lost = 0;
	if (lost & OF_END)
		watch_peer_end_on(core, slot);
	if (lost & OF_STANDING)
		poll_on(core, slot);
	return !!(lost & OF_END) + !!(lost & OF_STANDING);
}
