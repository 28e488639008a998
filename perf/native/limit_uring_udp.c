/* limit_uring_udp.c: the limit over io_uring for datagrams: each goes back to where it came from.
 *
 * One multishot receive, and one system call a turn. A datagram is sent from the buffer that it
 * came in, which the kernel gets again when the send is done.
 */
#define _GNU_SOURCE
#include "loopback.h"
#include "rings.h"

enum { ENTRIES = 4096, BUFFERS = 1024, BUFFER_BYTES = 4096, RECEIVE = BUFFERS };

static struct io_uring ring;
static struct buffers buffers;
static struct msghdr incoming = {.msg_namelen = sizeof(struct sockaddr_in)};
static struct {
	struct msghdr head;
	struct iovec bytes;
} answers[BUFFERS];

static void receive(int fd)
{
	struct io_uring_sqe *sqe = next_sqe(&ring);
	io_uring_prep_recvmsg_multishot(sqe, fd, &incoming, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 0;
	sqe->user_data = RECEIVE;
}

static void answer(int fd, unsigned id, int length)
{
	struct io_uring_recvmsg_out *got =
		io_uring_recvmsg_validate(buffer_at(&buffers, id), length, &incoming);
	if (!got) {
		give_buffer(&buffers, id);
		return;
	}
	answers[id].bytes.iov_base = io_uring_recvmsg_payload(got, &incoming);
	answers[id].bytes.iov_len = io_uring_recvmsg_payload_length(got, length, &incoming);
	answers[id].head = (struct msghdr){
		.msg_name = io_uring_recvmsg_name(got),
		.msg_namelen = got->namelen,
		.msg_iov = &answers[id].bytes,
		.msg_iovlen = 1,
	};
	struct io_uring_sqe *sqe = next_sqe(&ring);
	io_uring_prep_sendmsg(sqe, fd, &answers[id].head, 0);
	sqe->user_data = id;
}

static void dispatch(int fd, const struct io_uring_cqe *cqe)
{
	if (cqe->user_data != RECEIVE) {
		give_buffer(&buffers, (unsigned)cqe->user_data); /* one that failed is lost */
		return;
	}
	if (cqe->res >= 0)
		answer(fd, cqe->flags >> IORING_CQE_BUFFER_SHIFT, cqe->res);
	else if (cqe->res != -ENOBUFS)
		errx(2, "recvmsg: %s", strerror(-cqe->res));
	if (!(cqe->flags & IORING_CQE_F_MORE))
		receive(fd);
}

int main(void)
{
	open_ring(&ring, ENTRIES);
	open_buffers(&ring, &buffers, BUFFERS, BUFFER_BYTES);
	int fd = bound_socket(SOCK_DGRAM);
	say_where(fd);
	receive(fd);
	for (;;) {
		struct io_uring_cqe *cqe;
		unsigned head, count = 0;
		int ret = io_uring_submit_and_wait(&ring, 1);
		if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
			errx(2, "io_uring_enter: %s", strerror(-ret));
		io_uring_for_each_cqe(&ring, head, cqe) {
			dispatch(fd, cqe);
			count++;
		}
		io_uring_cq_advance(&ring, count);
		tell_buffers(&buffers);
	}
}
