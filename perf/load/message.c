/* message.c: the bytes that are sent: random ones, or a request out of a file, again and again. */
#define _GNU_SOURCE
#include "load.h"

struct message message;

static void fill_randomly(char *bytes, size_t n)
{
	uint64_t state = 0x9e3779b97f4a7c15;
	for (size_t i = 0; i < n; i++) {
		state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift64 */
		bytes[i] = (char)(state >> 56);
	}
}

static void read_request(char *bytes)
{
	FILE *file = fopen(options.request, "rb");
	if (!file || fread(bytes, 1, (size_t)options.size, file) != (size_t)options.size)
		err(2, "%s", options.request);
	fclose(file);
}

static long size_of_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (!file || fseek(file, 0, SEEK_END) < 0)
		err(2, "%s", path);
	long size = ftell(file);
	fclose(file);
	if (size <= 0)
		errx(2, "%s is empty", path);
	return size;
}

void make_message(void)
{
	if (options.request)
		options.size = size_of_file(options.request);
	if (!options.reply)
		options.reply = options.size;
	if (options.size * options.pipeline > 64 << 20 || options.reply * options.pipeline > 64 << 20)
		errx(2, "--size and --reply times --pipeline are at most 64 MiB");
	message.out = (size_t)options.size * (size_t)options.pipeline;
	message.back = (size_t)options.reply * (size_t)options.pipeline;
	message.bytes = aligned(message.out + PATTERN_SLACK);
	if (!options.request) {
		fill_randomly(message.bytes, message.out + PATTERN_SLACK);
		return;
	}
	for (long i = 0; i < options.pipeline; i++)
		read_request(message.bytes + i * options.size);
}

unsigned power_of_two(size_t at_least, unsigned low, unsigned high)
{
	while (low < at_least && low < high)
		low *= 2;
	return low;
}
