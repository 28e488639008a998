/* limit_mmsg.c: the limit without io_uring for datagrams: recvmmsg takes what is there, or waits,
 * and sendmmsg sends it back. One socket needs no epoll.
 */
#define _GNU_SOURCE
#include "loopback.h"

#include <errno.h>

enum { BATCH = 64, BUFFER_BYTES = 4096 };

static struct mmsghdr batch[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in senders[BATCH];
static char bytes[BATCH][BUFFER_BYTES];

static void make_room(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		parts[i] = (struct iovec){bytes[i], BUFFER_BYTES};
		batch[i].msg_hdr = (struct msghdr){
			.msg_name = &senders[i],
			.msg_namelen = sizeof senders[i],
			.msg_iov = &parts[i],
			.msg_iovlen = 1,
		};
	}
}

static void send_back(int fd, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		parts[i].iov_len = batch[i].msg_len;
	for (unsigned done = 0; done < count;) {
		int sent = sendmmsg(fd, batch + done, count - done, 0);
		if (sent < 0 && errno != EINTR)
			done++; /* lost */
		else if (sent > 0)
			done += (unsigned)sent;
	}
}

int main(void)
{
	int fd = bound_socket(SOCK_DGRAM);
	say_where(fd);
	make_room(BATCH);
	for (;;) {
		int got = recvmmsg(fd, batch, BATCH, MSG_WAITFORONE, NULL);
		if (got < 0 && errno != EINTR)
			err(2, "recvmmsg");
		if (got <= 0)
			continue;
		send_back(fd, (unsigned)got);
		make_room((unsigned)got);
	}
}
