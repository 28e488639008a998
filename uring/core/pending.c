/* pending.c: what has happened to a handle that no turn has reported yet.
 *
 * The law of this file: it only looks. Bytes are in the socket until a receive takes them; from then
 * on they are in a completion, which a turn may leave to the next. So the socket is looked at first.
 */
#include "core.h"

#include <poll.h>

#define BOTH (POLLIN | POLLOUT)

static int in_socket(const struct slot *slot)
{
	struct pollfd asked = {.fd = slot->fd, .events = BOTH | POLLRDHUP};
	if (poll(&asked, 1, 0) <= 0)
		return 0;
	return (asked.revents & (POLLRDHUP | POLLHUP) ? POLLHUP : 0) |
	       (asked.revents & (POLLIN | POLLHUP) ? POLLIN : 0) |
	       (asked.revents & (POLLOUT | POLLERR | POLLHUP) ? POLLOUT : 0);
}

static int told_by(const struct slot *slot, uint32_t index, const struct io_uring_cqe *cqe)
{
	enum request what = cqe->user_data >> INDEX_BITS & 0xff;
	if (what == REQ_PACKET) /* it names a packet, and may be of any socket of packets */
		return slot->role == ROLE_PACKETS ? POLLOUT : 0;
	if (cqe->user_data >> 32 != slot->generation || (cqe->user_data & INDEX_MASK) != index)
		return 0;
	if (what == REQ_RECV || what == REQ_END)
		return POLLIN;
	return what == REQ_SEND || what == REQ_CONNECT ? POLLOUT : 0;
}

static int in_completions(struct rn_core *core, const struct slot *slot, uint32_t index)
{
	struct io_uring_cqe *cqe;
	unsigned head;
	int found = 0;
	if (io_uring_cq_has_overflow(&core->ring))
		return BOTH; /* the kernel holds some that cannot be looked at */
	io_uring_for_each_cqe(&core->ring, head, cqe) found |= told_by(slot, index, cqe);
	return found;
}

int rn_pending(struct rn_core *core, int64_t handle)
{
	uint32_t index = (uint32_t)handle & INDEX_MASK;
	if (index >= core->bounds.slots)
		return 0;
	const struct slot *slot = &core->slots[index];
	if (slot->role == ROLE_FREE || slot->phase == ENDED ||
	    slot->generation != (uint32_t)(handle >> INDEX_BITS))
		return 0;
	int found = in_socket(slot);
	return found | in_completions(core, slot, index);
}
