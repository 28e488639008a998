/* calls.h: what the files of the C core call of each other. Part of core.h, which includes it.
 */
#ifndef RINGNET_CALLS_H
#define RINGNET_CALLS_H

/* enter.c */
struct io_uring_sqe *free_sqe(struct rn_core *core);
int enter(struct rn_core *core, bool wait, int64_t timeout_ns);
bool passed_mark(struct rn_core *core);
int64_t now_ns(void);

/* idle.c */
int submit_and_wait_idly(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned count,
			 struct __kernel_timespec *timeout, sigset_t *mask);

/* ring.c */
struct io_uring_sqe *new_request(struct rn_core *core, const struct slot *slot, enum request what);
uint64_t tag(const struct rn_core *core, const struct slot *slot, enum request what);
void emit(struct rn_core *core, int64_t handle, int kind, int64_t a, int64_t b);
void owe(struct rn_core *core, struct slot *slot, unsigned what);
void tell(struct rn_core *core, const struct slot *slot, int kind, int64_t a, int64_t b);

/* buffers.c */
int group_open(struct rn_core *core, unsigned id);
void group_close(struct rn_core *core, unsigned id);
void group_give_back(struct rn_core *core, struct group *group, unsigned id);
void lend(struct group *group, unsigned id);
int try_buffer_ring(struct io_uring *ring, bool incremental);
size_t take_buffer(struct group *group, unsigned flags, size_t size);
void drop_buffer(struct rn_core *core, struct group *group, unsigned flags, size_t size);
void give_back_lent(struct rn_core *core);
void starve(struct rn_core *core, struct slot *slot);
void unstarve(struct rn_core *core, struct slot *slot);
void feed_starved(struct rn_core *core);
bool is_anyone_starved(const struct rn_core *core);
struct group *group_of(struct rn_core *core, const struct slot *slot);

void wake_other(struct rn_core *core, int ring_fd);

/* commands.c */
int take_commands(struct rn_core *core, const char *commands, int64_t size);

/* setup.c */
void *map(size_t size);

/* slots.c */
int slot_start(struct rn_core *core, int64_t handle, enum role role, int fd, struct slot **out);
void slot_listen(struct rn_core *core, struct slot *slot);
void slot_adopt(struct rn_core *core, struct slot *slot);
void slot_pause(struct rn_core *core, struct slot *slot);
void slot_resume(struct rn_core *core, struct slot *slot);
void slot_shutdown(struct rn_core *core, struct slot *slot);
void slot_close(struct rn_core *core, struct slot *slot, int mode);
void slot_break(struct rn_core *core, struct slot *slot, int error);
void slot_notify(struct rn_core *core, struct slot *slot);
void slot_drained(struct rn_core *core, struct slot *slot);
void slot_end_if_quiet(struct rn_core *core, struct slot *slot);
void slot_read(struct rn_core *core, struct slot *slot);
void slot_arm(struct slot *slot);
void slot_disarm(struct slot *slot);
void slot_take_end(struct rn_core *core, struct slot *slot);
bool slot_is_drained(const struct slot *slot);
void enter_closing(struct rn_core *core, struct slot *slot);

/* accept.c */
void on_accept(struct rn_core *core, struct slot *slot, int res, unsigned flags);
void on_recv(struct rn_core *core, struct slot *slot, int res, unsigned flags);

/* once.c */
void slot_connect(struct rn_core *core, struct slot *slot, const char *address, size_t size);
void slot_poll(struct rn_core *core, struct slot *slot, uint32_t mask);
void poll_on(struct rn_core *core, struct slot *slot);
void on_connect(struct rn_core *core, struct slot *slot, int res);
void on_poll(struct rn_core *core, struct slot *slot, int res, unsigned flags);

/* cancel.c */
void cancel_request(struct rn_core *core, struct slot *slot, enum request what);
void cancel_standing(struct rn_core *core, struct slot *slot);
void cancel_again(struct rn_core *core, struct slot *slot);
void cancel_all(struct rn_core *core, struct slot *slot);
void forget_cancel(struct slot *slot, enum request what);
void on_cancel(struct rn_core *core, struct slot *slot, const struct io_uring_cqe *cqe);

/* changes.c */
uint8_t bit_of(enum request what);
bool make_poll(struct rn_core *core, struct slot *slot, enum request what, uint32_t mask,
	       bool for_changes);
bool goes_on_later(struct rn_core *core, struct slot *slot, enum request what);
uint32_t changes_retry(struct rn_core *core, struct slot *slot);

/* room.c */
void room_wait(struct rn_core *core, struct slot *slot, int error);
uint32_t room_retry(struct rn_core *core, struct slot *slot);
void on_room(struct rn_core *core, struct slot *slot, int res, unsigned flags);

/* peer_end.c */
void watch_peer_end(struct rn_core *core, struct slot *slot);
void watch_peer_end_on(struct rn_core *core, struct slot *slot);
void check_for_reset(struct rn_core *core, struct slot *slot);
void on_peer_end(struct rn_core *core, struct slot *slot, int res, unsigned flags);

/* stage.c */
void stage_borrow(struct rn_core *core, struct slot *slot, const char *bytes, size_t count);
void stage_start(struct rn_core *core);
void stage_send(struct rn_core *core, struct slot *slot);
void stage_drop(struct rn_core *core, struct slot *slot);
void stage_drop_waiting(struct rn_core *core, struct slot *slot);
bool stage_keep(struct rn_core *core, struct block *block, const char *bytes, size_t count);
void stage_free(struct rn_core *core, struct block *block);
void on_send(struct rn_core *core, struct slot *slot, int res);
void stage_conclude(struct rn_core *core);
bool stage_is_awaited(const struct rn_core *core);
bool may_send(const struct slot *slot);
bool has_waiting(const struct slot *slot);
void send_later(struct rn_core *core, struct slot *slot);

/* again.c */
void wait_readable(struct rn_core *core, struct slot *slot);
bool took_readable(struct rn_core *core, struct slot *slot, int res);
void read_retry(struct rn_core *core, struct slot *slot);

/* close.c */
void close_unused(int fd);
void close_used(const struct slot *slot);

/* pins.c */
bool is_borrowed(const struct slot *slot);
void note_fresh(struct rn_core *core, struct slot *slot);
void stage_pin(struct rn_core *core);
void unpin(struct rn_core *core, const char *bytes);

/* pool.c */
bool pool_take(struct pool *pool, struct block *block, size_t size);
void pool_give(struct pool *pool, struct block *block);
void pool_dispose(struct pool *pool);

/* packets.c */
void packets_keep(struct rn_core *core, struct slot *slot, const char *name, size_t name_size,
		  const char *bytes, size_t count);
void packets_send(struct rn_core *core, struct slot *slot);
void packets_conclude(struct rn_core *core);
bool packets_are_awaited(const struct rn_core *core);
bool packets_are_drained(const struct slot *slot);
void packets_drop(struct rn_core *core, struct slot *slot);
void packet_over(struct rn_core *core, struct slot *slot, struct packet *packet, int error);
void on_packet_sent(struct rn_core *core, uint32_t number, int res);

/* Why a packet did not leave as it was, or 0: a positive errno. */
static inline int packet_error(const struct packet *packet, int res)
{
	return res < 0 ? -res : (size_t)res < packet->bytes.iov_len ? EIO : 0;
}

/* source.c */
bool tells_local(int fd);
void local_of(char *control, size_t size, bool is_v6);
size_t size_of_name(const char *name, size_t size);
size_t put_source(struct cmsghdr *control, const char *source, size_t size);

/* inbox.c */
void packets_adopt(struct rn_core *core, struct slot *slot);
void packets_receive(struct rn_core *core, struct slot *slot);
void on_packet_received(struct rn_core *core, struct slot *slot, int res, unsigned flags);

/* lines.c */
bool lines_take(struct rn_core *core, struct slot *slot, struct packet *packet);
void lines_begin(struct rn_core *core, struct slot *slot, struct packet *packet);
void lines_drop(struct rn_core *core, struct slot *slot);
void retry_later(struct rn_core *core, struct slot *slot);
void retry_due(struct rn_core *core);
int64_t retry_timeout(const struct rn_core *core, int64_t timeout_ns);

#endif
