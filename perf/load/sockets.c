/* sockets.c: connections to the server on 127.0.0.1. */
#define _GNU_SOURCE
#include "load.h"

#include <sys/resource.h>
#include <sys/time.h>

int new_socket(int type)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(2, "socket");
	if (type == SOCK_STREAM)
		set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
	return fd;
}

int connect_one(int type)
{
	struct sockaddr_in server = loopback((int)options.port);
	int fd = new_socket(type);
	if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0)
		err(1, "cannot connect to 127.0.0.1:%ld", options.port);
	return fd;
}

static void allow_descriptors(long wanted)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= (rlim_t)wanted)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < (rlim_t)wanted)
		errx(2, "%ld descriptors are needed, and ulimit -n allows %llu", wanted,
		     (unsigned long long)limit.rlim_max);
}

/* One message to and fro, so that the server has met it and waits for the next. */
static void greet(int fd)
{
	static char answer[64 * 1024];
	struct timeval patience = {.tv_sec = GRACE};
	size_t size = (size_t)options.size, got = 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (send(fd, message.bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
		err(1, "an idle connection broke: send");
	while (got < (size_t)options.reply) {
		ssize_t n = recv(fd, answer, sizeof answer, 0);
		if (n <= 0)
			errx(1, "an idle connection broke after %zu bytes", got);
		got += (size_t)n;
	}
}

/* Opens those that stay silent, and finds out what each costs the server. */
void open_idle(void)
{
	double before = options.watch ? private_bytes(options.watch) : -1, after;
	allow_descriptors(options.idle + options.connections + 64);
	for (long i = 0; i < options.idle; i++)
		greet(connect_one(SOCK_STREAM));
	usleep(200 * 1000); /* what the server does later, such as giving memory back */
	after = options.watch ? private_bytes(options.watch) : -1;
	if (options.idle && before >= 0 && after >= 0)
		tally.idle_bytes = (after - before) / (double)options.idle;
}
