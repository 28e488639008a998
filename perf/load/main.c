/* main.c: a load generator, made so that the server is the bottleneck and not it.
 *
 * It talks to a server on 127.0.0.1 for a while, and prints one line of JSON. After the warm-up it
 * counts for `seconds`, or until `messages` came back; then it waits for what is under way, so that
 * the server sees an orderly end. The only reader of the options is perf/, by name:
 *
 *     load --port N [--connections N] [--size N | --request FILE] [--reply N] [--pipeline N]
 *          [--rate N] [--udp | --churn | --broadcast] [--idle N] [--verify]
 *          [--warmup S] [--seconds S] [--messages N] [--watch PID]
 *
 * `--reply` is how many bytes answer a message, if not as many as it has. `--rate` makes an open
 * loop of so many batches a second. `--idle` opens so many more connections, which say one thing.
 * `--watch` adds the CPU seconds of that process in the counted time, and the memory of the idle.
 * Exit status: 0 measured; 1 a connection broke, wrong bytes came back, or nothing did; 2 it cannot
 * run; 3 out of time.
 */
#define _GNU_SOURCE
#include "load.h"

#include <getopt.h>

struct options options = {.connections = 50, .size = 64, .pipeline = 1, .warmup = 0.3, .seconds = 2};
struct tally tally = {.idle_bytes = -1};

static void out_of_time(int signal_number)
{
	static const char text[] = "load: out of time: the server does not answer\n";
	(void)signal_number;
	if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
		_exit(2);
	_exit(3);
}

static long whole(const char *name, const char *text, long low, long high)
{
	char *end;
	long value = strtol(text, &end, 10);
	if (end == text || *end || value < low || value > high)
		errx(2, "--%s is a whole number from %ld to %ld, not %s", name, low, high, text);
	return value;
}

static double seconds(const char *name, const char *text, double high)
{
	char *end;
	double value = strtod(text, &end);
	if (end == text || *end || !(value >= 0 && value <= high))
		errx(2, "--%s is a number of seconds from 0 to %g, not %s", name, high, text);
	return value;
}

static void set_option(int letter, const char *name, const char *text)
{
	switch (letter) {
	case 'p': options.port = whole(name, text, 1, 65535); break;
	case 'c': options.connections = whole(name, text, 1, 10000); break;
	case 's': options.size = whole(name, text, 1, 16 << 20); break;
	case 'R': options.reply = whole(name, text, 1, 16 << 20); break;
	case 'P': options.pipeline = whole(name, text, 1, 1024); break;
	case 'm': options.messages = whole(name, text, 1, 1L << 40); break;
	case 'W': options.watch = whole(name, text, 1, 1L << 30); break;
	case 'i': options.idle = whole(name, text, 0, 100000); break;
	case 'r': options.rate = whole(name, text, 1, 100000000); break;
	case 'w': options.warmup = seconds(name, text, 60); break;
	case 't': options.seconds = seconds(name, text, 600); break;
	case 'q': options.request = text; break;
	case 'v': options.verify = true; break;
	case 'u': options.udp = true; break;
	case 'C': options.churn = true; break;
	case 'b': options.broadcast = true; break;
	default: exit(2);
	}
}

static void check_options(void)
{
	if (!options.port)
		errx(2, "usage: --port N and the options at the top of main.c");
	if (options.udp + options.churn + options.broadcast > 1)
		errx(2, "--udp, --churn and --broadcast exclude each other");
	if ((options.udp || options.broadcast) && options.pipeline > 1)
		errx(2, "--udp and --broadcast have no --pipeline");
	if ((options.churn || options.broadcast) && options.rate)
		errx(2, "--churn and --broadcast have no --rate");
	if (options.verify && (options.request || (options.reply && options.reply != options.size)))
		errx(2, "--verify compares what came back with what was sent: they must be alike");
}

static void read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"port", 1, NULL, 'p'},     {"connections", 1, NULL, 'c'},
		{"size", 1, NULL, 's'},     {"reply", 1, NULL, 'R'},
		{"pipeline", 1, NULL, 'P'}, {"request", 1, NULL, 'q'},
		{"warmup", 1, NULL, 'w'},   {"seconds", 1, NULL, 't'},
		{"messages", 1, NULL, 'm'}, {"watch", 1, NULL, 'W'},
		{"idle", 1, NULL, 'i'},     {"rate", 1, NULL, 'r'},
		{"verify", 0, NULL, 'v'},   {"udp", 0, NULL, 'u'},
		{"churn", 0, NULL, 'C'},    {"broadcast", 0, NULL, 'b'},
		{0},
	};
	for (int c, i = 0; (c = getopt_long(argc, argv, "", known, &i)) != -1;)
		set_option(c, c == '?' ? "" : known[i].name, optarg);
	if (optind < argc)
		errx(2, "unexpected: %s", argv[optind]);
	check_options();
}

static void report(void)
{
	const struct mark *from = &tally.start, *to = &tally.finish;
	const struct histogram *h = &tally.latencies;
	uint64_t messages = messages_counted(to);
	double took = (double)(to->now - from->now) / 1e9;
	if (!messages)
		errx(1, "nothing came back in %.2f s", took);
	if (messages < (uint64_t)options.messages)
		errx(1, "only %llu messages came back in %.2f s", (unsigned long long)messages, took);
	printf("{\"messages\": %llu, \"seconds\": %.6f, \"message_bytes\": %ld, \"lost\": %llu, "
	       "\"late\": %llu, \"idle_bytes\": %.1f, \"load_cpu_seconds\": %.6f, "
	       "\"server_cpu_seconds\": %.9f, \"p50_us\": %.2f, \"p90_us\": %.2f, "
	       "\"p99_us\": %.2f, \"p999_us\": %.2f, \"p9999_us\": %.2f}\n",
	       (unsigned long long)messages, took,
	       options.reply > options.size ? options.reply : options.size,
	       (unsigned long long)tally.lost, (unsigned long long)tally.late, tally.idle_bytes,
	       to->own_cpu - from->own_cpu, to->watched_cpu - from->watched_cpu,
	       percentile_us(h, 0.50), percentile_us(h, 0.90), percentile_us(h, 0.99),
	       percentile_us(h, 0.999), percentile_us(h, 0.9999));
}

int main(int argc, char **argv)
{
	read_options(argc, argv);
	signal(SIGALRM, out_of_time);
	make_message();
	watch_process();
	alarm((unsigned)(options.warmup + options.seconds) + GRACE + (unsigned)options.idle / 500);
	open_idle();
	if (options.churn)
		churn();
	else
		converse();
	report();
}
