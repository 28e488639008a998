/* messages.c: what is sent, and what has to come back.
 *
 * For an echo each batch is another piece of one pattern, so that bytes of another batch do not
 * verify. Or every message is the request of a file, and every reply the same: that of a file, or
 * just so many bytes.
 */
#include "load.h"

static char *pattern; /* never changes: batches of several connections are sent from it */
static char *replies; /* to a batch of requests, or NULL */

static void make_pattern(void)
{
	uint64_t state = 0x9e3779b97f4a7c15;
	pattern = aligned(load.batch_bytes + PATTERN_SLACK);
	for (size_t i = 0; i < load.batch_bytes + PATTERN_SLACK; i++) {
		state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift64 */
		pattern[i] = (char)(state >> 56);
	}
}

static char *contents(const char *path, long *size)
{
	FILE *file = fopen(path, "re");
	if (!file || fseek(file, 0, SEEK_END) || (*size = ftell(file)) <= 0)
		err(2, "%s", path);
	char *bytes = aligned((size_t)*size);
	rewind(file);
	if (fread(bytes, 1, (size_t)*size, file) != (size_t)*size)
		err(2, "%s", path);
	fclose(file);
	return bytes;
}

static char *repeated(const char *bytes, long size)
{
	char *all = aligned((size_t)(size * options.pipeline));
	for (long i = 0; i < options.pipeline; i++)
		memcpy(all + i * size, bytes, (size_t)size);
	return all;
}

static void read_request(void)
{
	char *request = contents(options.request, &options.size);
	pattern = repeated(request, options.size);
	free(request);
	if (!options.reply)
		return;
	char *reply = contents(options.reply, &options.reply_size);
	replies = repeated(reply, options.reply_size);
	free(reply);
}

void make_messages(void)
{
	if (options.request)
		read_request();
	if (!options.reply_size)
		options.reply_size = options.size;
	load.batch_bytes = (size_t)(options.size * options.pipeline);
	load.reply_bytes = (size_t)(options.reply_size * options.pipeline);
	if (!options.request)
		make_pattern();
}

const char *batch_of(size_t connection, unsigned batch)
{
	if (options.request)
		return pattern;
	return pattern + (connection * 61 + (size_t)batch * 17) % PATTERN_SLACK;
}

const char *replies_to(const char *batch)
{
	return options.request ? replies : batch;
}
