/* again.c: receives and accepts that the kernel did not wait with.
 *
 * Whether a descriptor is non-blocking belongs to all that share it, so it is left as it is. Kernels of
 * today wait with a request in either mode; an older one, or one of its threads, may answer EAGAIN.
 *
 * The law of this file: then a poll waits, under the name of the request, and the request follows it.
 * A poll that reports something to receive where there is nothing is not trusted twice in a row.
 */
#include "core.h"

#include <poll.h>

static enum request standing_of(const struct slot *slot)
{
	return slot->role == ROLE_LISTENER ? REQ_ACCEPT : REQ_RECV;
}

void wait_readable(struct rn_core *core, struct slot *slot)
{
	if (slot->flags & (ARMED | BROKEN | PEER_ENDED))
		return;
	if (slot->flags & PAUSED && slot->phase == OPEN)
		return; /* resuming makes the request */
	if (slot->flags & READ_TOLD) {
		retry_later(core, slot);
		return;
	}
	struct io_uring_sqe *sqe = new_request(core, slot, standing_of(slot));
	if (!sqe)
		return;
	io_uring_prep_poll_add(sqe, slot->fd, POLLIN);
	slot->flags |= POLLED;
	slot_arm(slot);
}

static void make_request(struct rn_core *core, struct slot *slot)
{
	if (slot->role == ROLE_LISTENER)
		slot_listen(core, slot);
	else
		slot_read(core, slot);
}

/* A while after the poll reported something to receive, and there was nothing. */
void read_retry(struct rn_core *core, struct slot *slot)
{
	if (!(slot->flags & READ_TOLD) || slot->flags & (ARMED | STARVED))
		return;
	slot->flags &= ~READ_TOLD;
	make_request(core, slot);
}

/* Whether the completion was that of the poll. */
bool took_readable(struct rn_core *core, struct slot *slot, int res)
{
	if (!(slot->flags & POLLED))
		return false;
	slot->flags &= ~POLLED;
	slot_disarm(slot);
	if (res > 0)
		slot->flags |= READ_TOLD;
	if (slot->phase >= CLOSING)
		slot_end_if_quiet(core, slot);
	else if (res < 0 && res != -ECANCELED && res != -EINTR)
		slot_break(core, slot, -res);
	else
		make_request(core, slot);
	return true;
}
