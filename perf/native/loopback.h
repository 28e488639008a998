/* loopback.h: what the C programs of perf/ share: a listening socket that nobody outside this
 * machine reaches, and the address of one.
 */
#ifndef PERF_LOOPBACK_H
#define PERF_LOOPBACK_H

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static inline struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static inline void set_flag(int fd, int level, int name)
{
	int on = 1;
	if (setsockopt(fd, level, name, &on, sizeof on) < 0)
		err(2, "setsockopt");
}

/* Prints the port that a socket is bound to. */
static inline void say_where(int fd)
{
	struct sockaddr_in address;
	socklen_t length = sizeof address;
	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		err(2, "getsockname");
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
}

static inline int bound_socket(int type)
{
	struct sockaddr_in address = loopback(0);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(2, "socket");
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
		err(2, "cannot bind to 127.0.0.1");
	return fd;
}

/* Listens on a free port and prints it. What is accepted inherits TCP_NODELAY (on Linux). A peer
 * that vanished is an error of a send, not a signal. */
static inline int listen_and_say_where(int type_flags)
{
	int fd = bound_socket(SOCK_STREAM | type_flags);
	set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
	if (listen(fd, 4096) < 0)
		err(2, "cannot listen on 127.0.0.1");
	signal(SIGPIPE, SIG_IGN);
	say_where(fd);
	return fd;
}

#endif
