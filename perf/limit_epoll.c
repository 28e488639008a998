/* limit_epoll.c: the limit over epoll: an echo server that does nothing else, on one thread.
 *
 * For each readiness one recv and one send. What a send leaves over is kept, and nothing more is
 * read of that connection until it is gone, so that a connection never owes more than one read.
 */
#define _GNU_SOURCE
#include "loopback.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

enum { EVENTS = 1024, READ_BYTES = 64 * 1024 };

struct connection {
	int fd;
	size_t owed, sent; /* of `left`: its bytes, and how many of them went out */
	char *left;        /* what a send left over, or NULL */
};

static char inbound[READ_BYTES];

static void watch(int epoll, int how, int fd, uint32_t events, void *what)
{
	struct epoll_event event = {.events = events, .data.ptr = what};
	if (epoll_ctl(epoll, how, fd, &event) < 0)
		err(2, "epoll_ctl");
}

static void accept_all(int epoll, int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		struct connection *conn = calloc(1, sizeof *conn);
		if (!conn)
			err(2, "calloc");
		conn->fd = fd;
		watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, conn);
	}
}

static void end(struct connection *conn)
{
	close(conn->fd);
	free(conn->left);
	free(conn);
}

static bool would_block(ssize_t ret)
{
	return ret < 0 && (errno == EAGAIN || errno == EINTR);
}

static void keep(int epoll, struct connection *conn, const char *bytes, size_t n)
{
	conn->left = malloc(n);
	if (!conn->left)
		err(2, "malloc");
	memcpy(conn->left, bytes, n);
	conn->owed = n;
	conn->sent = 0;
	watch(epoll, EPOLL_CTL_MOD, conn->fd, EPOLLOUT, conn);
}

static void echo(int epoll, struct connection *conn)
{
	ssize_t got = recv(conn->fd, inbound, sizeof inbound, 0);
	if (would_block(got))
		return;
	if (got <= 0) {
		end(conn);
		return;
	}
	ssize_t sent = send(conn->fd, inbound, (size_t)got, 0);
	if (sent < 0 && !would_block(sent)) {
		end(conn);
		return;
	}
	size_t done = sent < 0 ? 0 : (size_t)sent;
	if (done < (size_t)got)
		keep(epoll, conn, inbound + done, (size_t)got - done);
}

static void send_left(int epoll, struct connection *conn)
{
	ssize_t sent = send(conn->fd, conn->left + conn->sent, conn->owed - conn->sent, 0);
	if (would_block(sent))
		return;
	if (sent < 0) {
		end(conn);
		return;
	}
	conn->sent += (size_t)sent;
	if (conn->sent < conn->owed)
		return;
	free(conn->left);
	conn->left = NULL;
	watch(epoll, EPOLL_CTL_MOD, conn->fd, EPOLLIN, conn);
}

int main(void)
{
	static struct epoll_event events[EVENTS];
	int listener = listen_and_say_where(SOCK_NONBLOCK);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		err(2, "epoll_create1");
	watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
	for (;;) {
		int ready = epoll_wait(epoll, events, EVENTS, -1);
		if (ready < 0 && errno != EINTR)
			err(2, "epoll_wait");
		for (int i = 0; i < ready; i++) {
			struct connection *conn = events[i].data.ptr;
			if (!conn)
				accept_all(epoll, listener);
			else if (conn->left)
				send_left(epoll, conn);
			else
				echo(epoll, conn);
		}
	}
}
