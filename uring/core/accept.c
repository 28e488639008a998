/* accept.c: listeners.
 *
 * The law of this file: what a newcomer did wrong is passed over, what the machine lacks makes the
 * listener rest, and only its own failure breaks it.
 */
#include "core.h"

#include <poll.h>
#include <sys/socket.h>

void slot_listen(struct rn_core *core, struct slot *slot)
{
	struct io_uring_sqe *sqe;
	if (slot->flags & (ARMED | PAUSED | BROKEN) || slot->phase != OPEN)
		return;
	sqe = new_request(core, slot, REQ_ACCEPT);
	if (!sqe)
		return;
	io_uring_prep_multishot_accept(sqe, slot->fd, NULL, NULL, SOCK_CLOEXEC);
	slot_arm(slot);
}

static bool newcomer_is_to_blame(int error)
{
	/* accept(2): errors of the new socket that are pending already */
	return error == ECONNABORTED || error == EPROTO || error == ENETDOWN ||
	       error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET ||
	       error == EHOSTUNREACH || error == ENETUNREACH || error == ETIMEDOUT || error == EINTR;
}

/* EPERM: a security module refuses, before a newcomer was taken from the queue. */
static bool is_the_systems(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
	       error == EPERM;
}

/* The kernel wakes one of those that wait at a listener. Where that was a request of ours that is
 * cancelled, no other process is woken: so it takes what is there before the listener is given up. */
static bool takes_the_last(struct rn_core *core, struct slot *slot, int res)
{
	struct pollfd look = {.fd = slot->fd, .events = POLLIN};
	bool may = slot->flags & LATE_TOO && !(slot->flags & ARMED) &&
		   (res >= 0 || res == -ECANCELED || newcomer_is_to_blame(-res));
	if (!may || poll(&look, 1, 0) <= 0 || !(look.revents & POLLIN))
		return false;
	struct io_uring_sqe *sqe = new_request(core, slot, REQ_ACCEPT);
	if (!sqe)
		return false;
	io_uring_prep_accept(sqe, slot->fd, NULL, NULL, SOCK_CLOEXEC);
	slot_arm(slot);
	cancel_standing(core, slot); /* another process may be faster: it is tried and does not wait */
	return true;
}

void on_accept(struct rn_core *core, struct slot *slot, int res, unsigned flags)
{
	if (took_readable(core, slot, res))
		return;
	if (!(flags & IORING_CQE_F_MORE))
		slot_disarm(slot);
	if (res >= 0) {
		slot->flags &= ~READ_TOLD;
		if (slot->phase == OPEN || slot->flags & LATE_TOO)
			emit(core, handle_of(core, slot), RN_ACCEPTED, res, 0);
		else
			close_unused(res);
	}
	if (slot->phase != OPEN) {
		if (!takes_the_last(core, slot, res))
			slot_end_if_quiet(core, slot);
	} else if (res >= 0 || newcomer_is_to_blame(-res) || res == -ECANCELED) {
		slot_listen(core, slot);
	} else if (res == -EAGAIN) {
		wait_readable(core, slot);
	} else if (is_the_systems(-res)) {
		slot->flags |= PAUSED;
		emit(core, handle_of(core, slot), RN_STALLED, res, 0);
	} else {
		slot_break(core, slot, -res);
	}
}
