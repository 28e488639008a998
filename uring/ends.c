/* ends.c: the peer's end of a stream that is not TCP, which a multishot receive may miss.
 *
 * Such a receive is called again when its poll is woken. Where one wake-up stands for bytes and for
 * the end behind them, it takes the bytes, finds nothing left, and is woken no more. (Kernel 6.17 and
 * later, Unix sockets: before, it tried until the socket had nothing to say; 6.18.20 and 7.0 mend some
 * of the cases. TCP counts its end as one byte more.) So a poll of its own watches for the end, which
 * costs a message nothing.
 *
 * The law of this file: what is left once the end is there is taken by receives that are made one by
 * one, and so cannot miss it.
 */
#define _GNU_SOURCE /* POLLRDHUP */
#include "core.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static bool is_tcp(int fd)
{
	int protocol = 0;
	socklen_t size = sizeof protocol;
	return !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) && protocol == IPPROTO_TCP;
}

/* To be called before the receive is made: so that one is woken first, and has mostly told the end. */
void end_watch(struct rn_core *core, struct slot *slot)
{
	if (!core->multishot_recv || is_tcp(slot->fd))
		return;
	struct io_uring_sqe *sqe = new_request(core, slot, REQ_END);
	if (!sqe)
		return;
	io_uring_prep_poll_add(sqe, slot->fd, POLLRDHUP);
	slot->flags |= WATCHED;
	slot->awaited++;
}

void on_end(struct rn_core *core, struct slot *slot, int res)
{
	slot->flags &= ~WATCHED;
	slot->awaited--;
	if (slot->phase == CLOSING) {
		slot_end_if_quiet(core, slot);
	} else if (res < 0) {
		slot_break(core, slot, -res);
	} else if (!(slot->flags & PEER_ENDED)) {
		slot->flags |= END_SEEN;
		if (slot->flags & ARMED)
			cancel_request(core, slot, REQ_RECV); /* its last completion makes the next */
	}
}
