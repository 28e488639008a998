/* options.c: the command line of the load generator. */
#include "load.h"

#include <getopt.h>

struct options options = {
	.mode = &echo_mode,
	.connections = 50,
	.size = 64,
	.pipeline = 1,
	.window = 4,
	.warmup = 0.3,
	.seconds = 2,
	.cpus = {-1, -1},
};

static long whole(const char *name, const char *text, long low, long high)
{
	char *end;
	long value = strtol(text, &end, 10);
	if (end == text || *end || value < low || value > high)
		errx(2, "--%s is a whole number from %ld to %ld, not %s", name, low, high, text);
	return value;
}

static double number(const char *name, const char *text, double high)
{
	char *end;
	double value = strtod(text, &end);
	if (end == text || *end || !(value >= 0 && value <= high))
		errx(2, "--%s is a number from 0 to %g, not %s", name, high, text);
	return value;
}

static const struct mode *mode_named(const char *name)
{
	static const struct mode *const all[] = {
		&echo_mode, &sink_mode, &source_mode, &broadcast_mode, &churn_mode,
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (!strcmp(all[i]->name, name))
			return all[i];
	errx(2, "--mode is echo, sink, source, broadcast or churn, not %s", name);
}

/* "12,34": each of them, in order. Returns how many. */
static int list(const char *name, const char *text, long *out, int most)
{
	char part[24];
	int count = 0;
	for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		if (count == most)
			errx(2, "--%s has more than %d numbers", name, most);
		snprintf(part, sizeof part, "%.*s", (int)strcspn(at, ","), at);
		out[count++] = whole(name, part, 0, 1L << 30);
	}
	return count;
}

static void take_cpus(const char *name, const char *text)
{
	long cpus[2] = {-1, -1};
	list(name, text, cpus, 2);
	options.cpus[0] = (int)cpus[0];
	options.cpus[1] = (int)cpus[1];
}

static void take(const char *name, int letter, const char *text)
{
	switch (letter) {
	case 'M': options.mode = mode_named(text); break;
	case 'p': options.port = whole(name, text, 1, 65535); break;
	case 'c': options.connections = whole(name, text, 1, 100000); break;
	case 'a': options.active = whole(name, text, 1, 100000); break;
	case 's': options.size = whole(name, text, 1, 16 << 20); break;
	case 'S': options.reply_size = whole(name, text, 1, 16 << 20); break;
	case 'P': options.pipeline = whole(name, text, 1, 1024); break;
	case 'g': options.window = whole(name, text, 1, 1024); break;
	case 'm': options.messages = whole(name, text, 1, 1L << 40); break;
	case 'r': options.rate = number(name, text, 1e8); break;
	case 'w': options.warmup = number(name, text, 60); break;
	case 't': options.seconds = number(name, text, 600); break;
	case 'W':
		options.watched_count = list(name, text, options.watched, MAX_WATCHED);
		break;
	case 'C': take_cpus(name, text); break;
	case 'q': options.request = text; break;
	case 'Q': options.reply = text; break;
	case 'u': options.udp = true; break;
	case 'v': options.verify = true; break;
	default: exit(2);
	}
}

static void check(void)
{
	if (!options.active)
		options.active = options.connections;
	if (!options.port)
		errx(2, "usage: --port N and the options at the top of load.c");
	if (options.active > options.connections)
		errx(2, "--active is at most --connections");
	if (options.size * options.pipeline > 64 << 20)
		errx(2, "--size times --pipeline is at most 64 MiB");
	if (options.pipeline > 1 && (options.udp || options.rate > 0))
		errx(2, "--pipeline does not go with --udp or --rate");
	if (options.reply && !options.request)
		errx(2, "--reply needs --request");
}

void read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"mode", 1, NULL, 'M'},     {"port", 1, NULL, 'p'},
		{"active", 1, NULL, 'a'},   {"connections", 1, NULL, 'c'},
		{"size", 1, NULL, 's'},     {"reply-size", 1, NULL, 'S'},
		{"pipeline", 1, NULL, 'P'}, {"window", 1, NULL, 'g'},
		{"rate", 1, NULL, 'r'},     {"messages", 1, NULL, 'm'},
		{"warmup", 1, NULL, 'w'},   {"seconds", 1, NULL, 't'},
		{"watch", 1, NULL, 'W'},    {"cpus", 1, NULL, 'C'},
		{"request", 1, NULL, 'q'},  {"reply", 1, NULL, 'Q'},
		{"udp", 0, NULL, 'u'},      {"verify", 0, NULL, 'v'},
		{0},
	};
	for (int c, i = 0; (c = getopt_long(argc, argv, "", known, &i)) != -1;)
		take(known[i].name, c, optarg);
	if (optind < argc)
		errx(2, "what is %s?", argv[optind]);
	check();
}
