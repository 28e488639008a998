/* phases.c: the clocks, and what is counted when: a warm-up, the counted time, then the rest. */
#define _GNU_SOURCE
#include "load.h"

#include <sys/resource.h>
#include <time.h>

static clockid_t watched_clock;
static uint64_t warm_at;

static double clock_seconds(clockid_t clock)
{
	struct timespec t;
	if (clock_gettime(clock, &t) < 0)
		err(1, "the clock of the watched process");
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

uint64_t clock_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

void watch_process(void)
{
	if (options.watch && clock_getcpuclockid((pid_t)options.watch, &watched_clock))
		errx(2, "there is no process %ld to watch", options.watch);
}

static double own_cpu(void)
{
	return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

static struct mark mark(void)
{
	double watched = options.watch ? clock_seconds(watched_clock) : 0;
	return (struct mark){clock_now(), tally.bytes_back, own_cpu(), watched};
}

void start_warming(void)
{
	tally.now = clock_now();
	warm_at = tally.now + (uint64_t)(options.warmup * 1e9);
}

uint64_t messages_counted(const struct mark *until)
{
	return (until->bytes - tally.start.bytes) / (uint64_t)options.reply;
}

static bool counted_enough(void)
{
	uint64_t wanted = (uint64_t)options.messages * (uint64_t)options.reply;
	if (options.messages && tally.bytes_back - tally.start.bytes >= wanted)
		return true;
	return tally.now - tally.start.now >= (uint64_t)(options.seconds * 1e9);
}

void next_phase(void)
{
	if (tally.phase == WARMING && tally.now >= warm_at) {
		tally.start = mark();
		tally.phase = COUNTING;
	} else if (tally.phase == COUNTING && counted_enough()) {
		tally.finish = mark();
		tally.phase = DRAINING;
	}
}

/* Memory of a process that is its own: pages it wrote that it shares with nobody. */
double private_bytes(long pid)
{
	char path[64], line[256];
	long kib = -1;
	snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", pid);
	FILE *file = fopen(path, "r");
	while (file && kib < 0 && fgets(line, sizeof line, file))
		if (sscanf(line, "Private_Dirty: %ld kB", &kib) != 1)
			kib = -1;
	if (file)
		fclose(file);
	return (double)kib * 1024;
}
