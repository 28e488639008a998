/* once.c: what is reported once: that a stream is connected, that a descriptor is ready.
 *
 * The law of this file: a completion is not trusted before the socket was asked whether it is so.
 */
#include "core.h"

#include <poll.h>
#include <sys/socket.h>

/* Connecting */

void slot_connect(struct rn_core *core, struct slot *slot, const char *address, size_t size)
{
	struct io_uring_sqe *sqe;
	slot->flags |= CONNECTING;
	if (size < sizeof(sa_family_t) || size > RN_NAME_ROOM) {
		slot_break(core, slot, EINVAL);
		return;
	}
	/* The kernel reads the address when the request is submitted; this turn's block of commands
	 * may be gone by then if the submission queue is busy. */
	if (!stage_keep(core, &slot->flight, address, size)) {
		slot_break(core, slot, ENOMEM);
		return;
	}
	sqe = new_request(core, slot, REQ_CONNECT);
	if (!sqe)
		return;
	io_uring_prep_connect(sqe, slot->fd, (struct sockaddr *)slot->flight.at, (socklen_t)size);
	slot_arm(slot);
}

/* What an ICMP message refused completes as if it was connected, and the socket has the error. */
static int error_of(int fd)
{
	int error = 0;
	socklen_t size = sizeof error;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

static void be_connected(struct rn_core *core, struct slot *slot)
{
	tell(core, slot, RN_CONNECTED, 0, 0);
	slot_adopt(core, slot);
	if (has_waiting(slot))
		stage_send(core, slot);
	else
		slot_drained(core, slot);
}

void on_connect(struct rn_core *core, struct slot *slot, int res)
{
	slot_disarm(slot);
	stage_free(core, &slot->flight);
	slot->flags &= ~CONNECTING;
	if (slot->phase == CLOSING) {
		slot_end_if_quiet(core, slot);
		return;
	}
	int error = res < 0 ? -res : error_of(slot->fd);
	if (error)
		slot_break(core, slot, error);
	else if (!(slot->flags & BROKEN))
		be_connected(core, slot);
}

/* Polls. The kernel reports hang-ups and errors as well, whether or not they were asked for. */

static void poll_for(struct rn_core *core, struct slot *slot, bool changes)
{
	if (make_poll(core, slot, REQ_POLL, slot->mask, changes))
		slot_arm(slot);
}

/* What it reported was not what was asked for, and would be reported again at once. */
void poll_on(struct rn_core *core, struct slot *slot)
{
	if (slot->phase == OPEN && !(slot->flags & ARMED))
		poll_for(core, slot, true);
}

void slot_poll(struct rn_core *core, struct slot *slot, uint32_t mask)
{
	slot->mask = mask;
	poll_for(core, slot, false);
}

static void end_poll(struct rn_core *core, struct slot *slot, int res)
{
	if (slot->phase == OPEN && slot->ready) {
		emit(core, handle_of(core, slot), RN_READY, slot->ready, 0);
		slot->role = ROLE_FREE;
		core->shared.live[index_of(core, slot)] = 0;
		return;
	}
	if (slot->phase == OPEN)
		slot->error = -res;
	slot->phase = CLOSING;
	slot_end_if_quiet(core, slot);
}

void on_poll(struct rn_core *core, struct slot *slot, int res, unsigned flags)
{
	if (!(flags & IORING_CQE_F_MORE))
		slot_disarm(slot);
	if (res > 0 && !slot->ready)
		slot->ready = (uint32_t)res & (slot->mask | POLLERR | POLLHUP);
	bool is_over = slot->phase != OPEN || slot->ready || (res < 0 && res != -ECANCELED);
	if (!(slot->flags & ARMED) && is_over)
		end_poll(core, slot, res);
	else if (!(slot->flags & ARMED) && !goes_on_later(core, slot, REQ_POLL))
		poll_on(core, slot);
	else if (is_over)
		cancel_standing(core, slot); /* its last completion has the rest */
}
