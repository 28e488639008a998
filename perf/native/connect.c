/* connect.c: the connections of a load: they are all there before it begins. */
#include "load.h"

static int connected(void)
{
	struct sockaddr_in server = loopback((int)options.port);
	int fd = socket(AF_INET, (options.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(2, "socket");
	if (!options.udp)
		set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
	if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0)
		err(1, "cannot connect to 127.0.0.1:%ld", options.port);
	return fd;
}

void connect_all(void)
{
	load.connections = calloc((size_t)options.connections, sizeof *load.connections);
	if (!load.connections)
		err(2, "calloc");
	for (long i = 0; i < options.connections; i++)
		load.connections[i].fd = connected();
}

void receive_from_all(void)
{
	for (long i = 0; i < options.connections; i++)
		arm_receive(&load.ring, load.connections[i].fd, tag(RECEIVE, (size_t)i),
			    options.verify ? 0 : MSG_TRUNC);
}

void end_all(void)
{
	for (long i = 0; i < options.connections; i++)
		shutdown(load.connections[i].fd, SHUT_RDWR);
}
