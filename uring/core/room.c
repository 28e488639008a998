/* room.c: sockets that are full, and when they are no more.
 *
 * A send that waited inside the kernel would take a thread of it wherever the socket polls ready for
 * something else, and a peer that has ended its side and does not read is just that. So a full socket
 * is polled, and the send is made again with MSG_DONTWAIT.
 *
 * The law of this file: a slot that finds its socket full waits for a report of room, or tries again
 * after a while; and a poll that reports room where there is none is not trusted twice in a row.
 */
#include "core.h"

#include <poll.h>

static void watch(struct rn_core *core, struct slot *slot, bool for_changes)
{
	if (!make_poll(core, slot, REQ_ROOM, POLLOUT, for_changes))
		return;
	slot->flags |= ROOM;
	slot->awaited++;
}

/* A change may have been reported before a send took less than there was room for. */
static bool takes_more(const struct slot *slot)
{
	struct pollfd now = {.fd = slot->fd, .events = POLLOUT};
	return poll(&now, 1, 0) == 1 && now.revents & POLLOUT;
}

static void try_again(struct rn_core *core, struct slot *slot)
{
	slot->flags &= ~FULL;
	send_later(core, slot);
}

static void trust(struct rn_core *core, struct slot *slot)
{
	slot->flags |= ROOM_TOLD;
	try_again(core, slot);
}

/* Nothing of the slot is sent until the socket has room. `error`: of the last send, or 0. */
void room_wait(struct rn_core *core, struct slot *slot, int error)
{
	bool is_in_doubt = slot->flags & ROOM_TOLD || (error && error != EAGAIN);
	slot->flags = (slot->flags & ~ROOM_TOLD) | FULL;
	if (is_in_doubt)
		retry_later(core, slot);
	else if (!(slot->flags & ROOM))
		watch(core, slot, slot->flags & (PEER_ENDED | END_SEEN));
	else if (takes_more(slot))
		trust(core, slot);
}

/* A while after the poll reported room where there was none. Returns how many sends it took. */
uint32_t room_retry(struct rn_core *core, struct slot *slot)
{
	if (!(slot->flags & FULL) || slot->phase >= CLOSING || slot->flags & BROKEN)
		return 0;
	try_again(core, slot);
	return 1;
}

void on_room(struct rn_core *core, struct slot *slot, int res, unsigned flags)
{
	if (!(flags & IORING_CQE_F_MORE)) {
		slot->flags &= ~ROOM;
		slot->awaited--;
		forget_cancel(slot, REQ_ROOM);
	}
	if (slot->phase == CLOSING) {
		slot_end_if_quiet(core, slot);
	} else if (!(slot->flags & FULL) || slot->flags & BROKEN) {
		return;
	} else if (res > 0 && res & (POLLOUT | POLLERR | POLLHUP)) {
		trust(core, slot);
	} else if (!(slot->flags & ROOM) && !goes_on_later(core, slot, REQ_ROOM)) {
		watch(core, slot, true); /* it has reported an end, and no room */
	}
}
