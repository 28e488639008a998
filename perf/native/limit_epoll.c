/* limit_epoll.c: the limit over epoll: a server that does nothing else, on one thread.
 *
 *     limit_epoll [echo|sink|source]
 *
 * For each readiness one recv and one send. What a send leaves over is kept, and nothing more is
 * read of that connection until it is gone, so that a connection never owes more than one read.
 */
#define _GNU_SOURCE
#include "loopback.h"
#include "roles.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

enum { EVENTS = 1024, READ_BYTES = 64 * 1024 };

struct connection {
	int fd;
	size_t owed, sent; /* of `left`: its bytes, and how many of them went out */
	char *left;        /* what a send left over, or NULL */
	bool is_full;      /* a source's: it waits until there is room for what it owes */
};

static enum role role;

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

/* A source sends blocks until none is owed, or no room is left. */
static void send_blocks(int epoll, struct connection *conn)
{
	while (conn->owed > 0) {
		size_t size = conn->owed < BLOCK ? conn->owed : BLOCK;
		ssize_t sent = send(conn->fd, block, size, 0);
		if (sent < 0 && !would_block(sent)) {
			end(conn);
			return;
		}
		if (sent < 0)
			break;
		conn->owed -= (size_t)sent;
	}
	if (conn->is_full == (conn->owed > 0))
		return;
	conn->is_full = conn->owed > 0;
	watch(epoll, EPOLL_CTL_MOD, conn->fd, EPOLLIN | (conn->is_full ? EPOLLOUT : 0), conn);
}

static void receive(int epoll, struct connection *conn)
{
	ssize_t got = recv(conn->fd, inbound, sizeof inbound, 0);
	if (would_block(got))
		return;
	if (got <= 0) {
		end(conn);
		return;
	}
	if (role == SINK)
		return;
	conn->owed += (size_t)got * BLOCK;
	send_blocks(epoll, conn);
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

static void ready_now(int epoll, struct connection *conn, uint32_t what)
{
	if (role == ECHO && conn->left)
		send_left(epoll, conn);
	else if (role == ECHO)
		echo(epoll, conn);
	else if (what & EPOLLOUT)
		send_blocks(epoll, conn);
	else
		receive(epoll, conn);
}

int main(int argc, char **argv)
{
	static struct epoll_event events[EVENTS];
	role = role_of(argc, argv);
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
			else
				ready_now(epoll, conn, events[i].events);
		}
	}
}
