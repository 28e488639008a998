/* kernel.h: liburing, and the numbers that an old one lacks.
 *
 * Whether the kernel knows them is found by trying.
 */
#ifndef RINGNET_KERNEL_H
#define RINGNET_KERNEL_H

#include <liburing.h>

#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_SETUP_COOP_TASKRUN
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif
#ifndef IORING_FEAT_NO_IOWAIT
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#define IORING_ENTER_NO_IOWAIT (1U << 7)
#endif
#ifndef IORING_CQE_F_BUF_MORE
#define IORING_CQE_F_BUF_MORE (1U << 4)
#endif
#define BUFFERS_INCREMENTAL 2U /* IOU_PBUF_RING_INC: a flag of struct io_uring_buf_reg */
#define OP_EPOLL_WAIT 59       /* of kernel 6.15 */

#endif
