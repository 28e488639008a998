/* peer_end.c: the peer's end, or its reset, which a multishot receive may miss.
 *
 * Such a receive is called again when its poll is woken. Where one wake-up stands for bytes and for
 * what ends the stream behind them, it takes the bytes, finds nothing left, and is woken no more: for
 * the end of a Unix stream (from kernel 6.17 on) and for a reset of TCP; only for its end TCP reports
 * that something is left. 6.18.20 and 7.0 mend some of the cases. So a poll of its own watches for both,
 * which costs a message nothing.
 *
 * The law of this file: what is left once the end is there is taken by receives that are made one by
 * one, and so cannot miss it. Once the end was reported nothing is received any more, and only a poll
 * reports a reset behind it.
 */
#define _GNU_SOURCE /* POLLRDHUP */
#include "core.h"

#include <poll.h>
#include <sys/socket.h>

#define ENDED_BITS (POLLRDHUP | POLLHUP)

static void watch(struct rn_core *core, struct slot *slot, bool for_changes)
{
	if (!make_poll(core, slot, REQ_END, POLLRDHUP, for_changes))
		return;
	slot->flags |= WATCHED;
	slot->awaited++;
}

/* To be called before the receive is made: so the poll is woken first, and has mostly seen the end. */
void watch_peer_end(struct rn_core *core, struct slot *slot)
{
	if (core->multishot_recv)
		watch(core, slot, false);
}

/* It was reported, and would be again at once, so what is watched for is changes. */
void watch_peer_end_on(struct rn_core *core, struct slot *slot)
{
	if (slot->phase == OPEN && !(slot->flags & (WATCHED | BROKEN)))
		watch(core, slot, true);
}

static void watch_again(struct rn_core *core, struct slot *slot)
{
	if (!(slot->flags & WATCHED) && !goes_on_later(core, slot, REQ_END))
		watch_peer_end_on(core, slot);
}

/* Whether the peer has reset the connection behind its end. */
void check_for_reset(struct rn_core *core, struct slot *slot)
{
	int error = 0;
	socklen_t size = sizeof error;
	if (slot->phase != OPEN || slot->flags & (PAUSED | BROKEN))
		return;
	if (!getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &error, &size) && error)
		slot_break(core, slot, error);
}

void on_peer_end(struct rn_core *core, struct slot *slot, int res, unsigned flags)
{
	if (!(flags & IORING_CQE_F_MORE)) {
		slot->flags &= ~WATCHED;
		slot->awaited--;
		forget_cancel(slot, REQ_END);
	}
	if (slot->phase == CLOSING) {
		slot_end_if_quiet(core, slot);
	} else if (res < 0) {
		slot_break(core, slot, -res);
	} else if (slot->flags & PEER_ENDED) {
		if (res & (POLLERR | POLLHUP))
			check_for_reset(core, slot);
		watch_again(core, slot);
	} else if (!(res & ENDED_BITS)) {
		/* POLLERR: something is in the error queue, such as a timestamp, and may stay there. */
		watch_again(core, slot);
	} else if (!(slot->flags & (BROKEN | END_SEEN))) {
		slot->flags |= END_SEEN;
		if (slot->flags & ARMED)
			cancel_standing(core, slot); /* its last completion makes the next */
	}
}
