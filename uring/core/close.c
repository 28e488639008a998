/* close.c: how a descriptor is given back to the system.
 *
 * The law of this file: close(2) on the loop never waits, and the peer sees the end at once. It
 * would wait as long as SO_LINGER says, also on a non-blocking socket; and while another process has
 * the descriptor as well, as a forked child does, close(2) alone sends nothing to the peer.
 */
#include "core.h"

#include <sys/socket.h>
#include <unistd.h>

/* Turns lingering off, but for that without a time, which is a reset; whether it is that. */
static bool resets(int fd)
{
	struct linger set;
	socklen_t size = sizeof set;
	if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &set, &size) < 0 || !set.l_onoff)
		return false;
	if (!set.l_linger)
		return true;
	set = (struct linger){0};
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &set, sizeof set);
	return false;
}

/* TCP resets when it is disconnected (connect(2), AF_UNSPEC), whatever process shares it. */
static void reset(int fd)
{
	struct linger at_once = {.l_onoff = 1};
	struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	if (connect(fd, &unspecified, sizeof unspecified) < 0)
		(void)shutdown(fd, SHUT_RDWR);
}

/* One that unspecified has used yet. */
void close_unused(int fd)
{
	(void)resets(fd);
	close(fd);
}

void close_used(const struct slot *slot)
{
	bool has_end = slot->role == ROLE_STREAM || slot->flags & HAS_END;
	if (slot->flags & BY_RESET || resets(slot->fd)) {
		if (has_end)
			reset(slot->fd);
	} else if (has_end && !(slot->flags & FIN_SENT)) {
		(void)shutdown(slot->fd, SHUT_RDWR);
	}
	close(slot->fd);
}
