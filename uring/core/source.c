/* source.c: the local address of a datagram: where it was sent to, or is to be sent from.
 *
 * A socket that is bound to a wildcard address reports it on request (IP_PKTINFO, IPV6_RECVPKTINFO)
 * in a control message, and takes it in one when it sends. To the caller both are a sockaddr.
 */
#define _GNU_SOURCE /* struct in6_pktinfo */
#include "core.h"

#include <netinet/in.h>
#include <string.h>

/* A group, or all: nothing leaves from there. */
static bool is_of_many(const struct in6_addr *address)
{
	return IN6_IS_ADDR_MULTICAST(address) || IN6_IS_ADDR_UNSPECIFIED(address);
}

static bool is_set(int fd, int level, int option)
{
	int value = 0;
	socklen_t size = sizeof value;
	return getsockopt(fd, level, option, &value, &size) == 0 && value;
}

bool tells_local(int fd)
{
	return is_set(fd, IPPROTO_IP, IP_PKTINFO) || is_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO);
}

/* Of a datagram of IPv4, unless it is a group or all; in the form of IPv6 where the socket is of both. */
static size_t take_v4(struct in_addr address, bool is_mapped, struct sockaddr_storage *out)
{
	if (address.s_addr == htonl(INADDR_ANY) || ntohl(address.s_addr) >= 0xe0000000)
		return 0;
	if (!is_mapped) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = address};
		memcpy(out, &in, sizeof in);
		return sizeof in;
	}
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&in6.sin6_addr.s6_addr[12], &address, sizeof address);
	memcpy(out, &in6, sizeof in6);
	return sizeof in6;
}

static size_t take_v6(const struct in6_pktinfo *info, struct sockaddr_storage *out)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = info->ipi6_addr};
	if (is_of_many(&info->ipi6_addr))
		return 0;
	if (IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
		in6.sin6_scope_id = info->ipi6_ifindex;
	memcpy(out, &in6, sizeof in6);
	return sizeof in6;
}

/* Makes a sockaddr of a datagram's control message, in its place; of family 0 if there is none. */
void local_of(char *control, size_t size, bool is_v6)
{
	struct sockaddr_storage found = {0};
	struct msghdr message = {.msg_control = control, .msg_controllen = size};
	size_t length = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		struct in_pktinfo info;
		struct in6_pktinfo info6;
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO &&
		    c->cmsg_len >= CMSG_LEN(sizeof info)) {
			/* That of ours which answers, also where it was sent to a group or to all. */
			memcpy(&info, CMSG_DATA(c), sizeof info);
			/* The system does not know where it came to before the option was set. */
			length = take_v4(info.ipi_spec_dst.s_addr ? info.ipi_spec_dst : info.ipi_addr,
					 is_v6, &found);
			break;
		}
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO &&
		    c->cmsg_len >= CMSG_LEN(sizeof info6)) {
			memcpy(&info6, CMSG_DATA(c), sizeof info6);
			length = take_v6(&info6, &found);
		}
	}
	if (!length)
		found = (struct sockaddr_storage){0};
	memcpy(control, &found, sizeof found);
}

/* How many bytes of an address are where to send to; the others are where to send from. */
size_t size_of_name(const char *name, size_t size)
{
	sa_family_t family;
	if (size < sizeof family)
		return size;
	memcpy(&family, name, sizeof family);
	size_t own = family == AF_INET	  ? sizeof(struct sockaddr_in)
		     : family == AF_INET6 ? sizeof(struct sockaddr_in6)
					  : size;
	return size == 2 * own ? own : size;
}

/* Tells the kernel where a packet leaves from; returns how many bytes that takes. */
size_t put_source(struct cmsghdr *control, const char *source, size_t size)
{
	if (size == sizeof(struct sockaddr_in)) {
		struct sockaddr_in from;
		memcpy(&from, source, size);
		struct in_pktinfo info = {.ipi_spec_dst = from.sin_addr};
		*control = (struct cmsghdr){CMSG_LEN(sizeof info), IPPROTO_IP, IP_PKTINFO};
		memcpy(CMSG_DATA(control), &info, sizeof info);
		return CMSG_SPACE(sizeof info);
	}
	struct sockaddr_in6 from;
	memcpy(&from, source, sizeof from);
	struct in6_pktinfo info = {.ipi6_addr = from.sin6_addr, .ipi6_ifindex = from.sin6_scope_id};
	*control = (struct cmsghdr){CMSG_LEN(sizeof info), IPPROTO_IPV6, IPV6_PKTINFO};
	memcpy(CMSG_DATA(control), &info, sizeof info);
	return CMSG_SPACE(sizeof info);
}
