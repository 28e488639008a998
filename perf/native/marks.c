/* marks.c: what was used up to a moment, by whom, and the report of what lies between two. */
#include "load.h"


static double clock_seconds(clockid_t clock)
{
	struct timespec t;
	if (clock_gettime(clock, &t) < 0)
		err(1, "the clock of a watched process");
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

uint64_t clock_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static double watched_cpu(void)
{
	double sum = 0;
	for (int i = 0; i < options.watched_count; i++) {
		clockid_t clock;
		if (clock_getcpuclockid((pid_t)options.watched[i], &clock))
			errx(1, "there is no process %ld to watch", options.watched[i]);
		sum += clock_seconds(clock);
	}
	return sum;
}

/* Seconds that a CPU was used, or taken from this machine, as proc(5) has it. Time in interrupts
 * is left out: it may be that of the load's and the server's own packets. */
static double busy_seconds(const char *line)
{
	unsigned long long user, nice, system, idle, waiting, irq, softirq, steal;
	if (sscanf(line, "cpu%*d %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system,
		   &idle, &waiting, &irq, &softirq, &steal) != 8)
		return 0;
	return (double)(user + nice + system + steal) / (double)sysconf(_SC_CLK_TCK);
}

static double busy_cpu(void)
{
	char line[512];
	double sum = 0;
	FILE *file = options.cpus[0] < 0 ? NULL : fopen("/proc/stat", "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof line, file)) {
		int cpu;
		if (sscanf(line, "cpu%d ", &cpu) == 1 &&
		    (cpu == options.cpus[0] || cpu == options.cpus[1]))
			sum += busy_seconds(line);
	}
	fclose(file);
	return sum;
}

struct mark mark(void)
{
	return (struct mark){
		.now = clock_now(),
		.bytes = load.bytes,
		.messages = load.messages,
		.lost = load.lost,
		.own_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID),
		.watched_cpu = watched_cpu(),
		.busy_cpu = busy_cpu(),
	};
}

static double others_cpu(const struct mark *a, const struct mark *b)
{
	double others = b->busy_cpu - a->busy_cpu - (b->own_cpu - a->own_cpu) -
			(b->watched_cpu - a->watched_cpu);
	return others > 0 && options.cpus[0] >= 0 ? others : 0;
}

static void print_percentiles(const char *name, const struct histogram *h)
{
	static const struct {
		const char *name;
		double part;
	} all[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};
	printf("\"%s\": {", name);
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		printf("\"%s\": %.2f, ", all[i].name, percentile_us(h, all[i].part));
	printf("\"max\": %.2f}", largest_us(h));
}

/* One line of JSON. Its only reader is perf/measuring/load.py, by name. */
void report(void)
{
	const struct mark *a = &load.start, *b = &load.finish;
	uint64_t messages = b->messages - a->messages;
	double took = (double)(b->now - a->now) / 1e9;
	if (!messages)
		errx(1, "nothing came back in %.2f s", took);
	if (messages < (uint64_t)options.messages)
		errx(1, "only %llu messages came back in %.2f s", (unsigned long long)messages, took);
	printf("{\"began\": %.9f, \"messages\": %llu, \"bytes\": %llu, \"lost\": %llu, \"seconds\": %.6f, "
	       "\"load_cpu_seconds\": %.6f, \"server_cpu_seconds\": %.9f, "
	       "\"others_cpu_seconds\": %.3f, \"line_ns\": [%.0f, %.0f], ",
	       (double)a->now / 1e9, (unsigned long long)messages, (unsigned long long)(b->bytes - a->bytes),
	       (unsigned long long)(b->lost - a->lost), took, b->own_cpu - a->own_cpu,
	       b->watched_cpu - a->watched_cpu, others_cpu(a, b), load.line_ns[0],
	       load.line_ns[1]);
	print_percentiles("latency_us", &load.latencies);
	printf(", ");
	print_percentiles("lateness_us", &load.lateness);
	printf("}\n");
}
