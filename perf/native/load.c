/* load.c: a load generator, made so that the server is the bottleneck and not it.
 *
 * One thread. After the warm-up it counts for `seconds`, or until `messages` came back; then it
 * waits for what is under way, so that the server sees an orderly end, and prints one line of JSON.
 *
 *     load --port N [--mode echo|sink|source|broadcast|churn] [--connections N] [--active N]
 *          [--size N] [--pipeline N] [--rate N] [--udp] [--verify]
 *          [--request FILE [--reply FILE | --reply-size N]] [--window N]
 *          [--warmup S] [--seconds S] [--messages N] [--watch PID,..] [--cpus A,B]
 *
 * `--rate` (messages a second, of all connections) makes the loop an open one. `--request` sends
 * that file in place of an echo's pattern. `--active` of the connections converse, the others are
 * just there. `--watch` adds the CPU seconds of processes in the counted time, `--cpus`, the load's
 * and the server's, those that anybody else used on them, and how far they are from each other
 * before and after.
 * Exit status: 0 measured; 1 a connection broke, wrong bytes came back, or nothing did; 2 it
 * cannot run; 3 out of time.
 */
#include "load.h"

#include <sys/prctl.h>

enum { GRACE = 10 };

struct load load;

static void reap(void)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	io_uring_for_each_cqe(&load.ring, head, cqe) {
		options.mode->completed(cqe);
		count++;
	}
	io_uring_cq_advance(&load.ring, count);
	tell_buffers(&load.buffers);
}

/* At most until something is due; a tick, so that phases end though nothing comes. */
static uint64_t patience(void)
{
	uint64_t due = options.mode->next_due ? options.mode->next_due() : UINT64_MAX;
	uint64_t left = due > load.now ? due - load.now : 0;
	return left < SECOND / 100 ? left : SECOND / 100;
}

/* One system call: submits what was prepared, and waits for something to come back. */
static void turn(void)
{
	struct io_uring_cqe *cqe;
	struct __kernel_timespec wait = {.tv_nsec = (long long)patience()};
	int ret = io_uring_submit_and_wait_timeout(&load.ring, &cqe, 1, &wait, NULL);
	if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
		errx(2, "io_uring_enter: %s", strerror(-ret));
	load.now = clock_now();
	reap();
	if (options.mode->looked)
		options.mode->looked();
}

static bool counted_enough(void)
{
	if (options.messages && load.messages - load.start.messages >= (uint64_t)options.messages)
		return true;
	return load.now - load.start.now >= (uint64_t)(options.seconds * 1e9);
}

static void next_phase(void)
{
	if (load.phase == WARMING && load.now >= load.warm_at) {
		load.start = mark();
		load.phase = COUNTING;
	} else if (load.phase == COUNTING && counted_enough()) {
		load.finish = mark();
		load.phase = DRAINING;
	}
}

static void run(void)
{
	load.now = clock_now();
	load.warm_at = load.now + (uint64_t)(options.warmup * 1e9);
	options.mode->begin();
	while (load.phase != DRAINING || !options.mode->is_quiet()) {
		next_phase();
		turn();
	}
}

static unsigned power_of_two(size_t at_least, unsigned low, unsigned high)
{
	while (low < at_least && low < high)
		low *= 2;
	return low;
}

static void out_of_time(int signal_number)
{
	static const char text[] = "load: out of time: the server does not answer\n";
	(void)signal_number;
	if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
		_exit(2);
	_exit(3);
}

static void prepare(void)
{
	unsigned many = power_of_two(2 * (size_t)options.connections, 64, 4096);
	signal(SIGALRM, out_of_time);
	alarm((unsigned)(options.warmup + options.seconds) + GRACE);
	prctl(PR_SET_TIMERSLACK, 1UL); /* an open loop is to be on time: the default is 50 us */
	make_messages();
	open_ring(&load.ring, many);
	open_buffers(&load.ring, &load.buffers, many,
		     power_of_two(load.reply_bytes, 256, 64 * 1024));
}

int main(int argc, char **argv)
{
	read_options(argc, argv);
	bool connects = options.mode != &churn_mode;
	prepare();
	load.line_ns[0] = line_ns(options.cpus[0], options.cpus[1]);
	if (connects)
		connect_all();
	run();
	if (connects)
		end_all();
	load.line_ns[1] = line_ns(options.cpus[0], options.cpus[1]);
	report();
}
