/* fuzz_seeds.c: inputs for fuzz_commands.c made from seeds, each of which can be replayed.
 *
 *     fuzz_commands [SECONDS [SEED]]    0 seconds: that seed only
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*callback)(void));

extern unsigned long turns, refused, taken;
static uint64_t seed;

static void tell(void)
{
	fprintf(stderr, "replay: fuzz_commands 0 %llu\n", (unsigned long long)seed);
}

static void stuck(int signal)
{
	tell();
	_exit(signal);
}

static void run(void)
{
	static uint8_t data[2048];
	uint64_t state = seed * 0x9E3779B97F4A7C15U | 1;
	for (size_t i = 0; i < sizeof data; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		data[i] = (uint8_t)(state >> 24);
	}
	alarm(20);
	LLVMFuzzerTestOneInput(data, sizeof data);
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 20);
	seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) << 20;
	__sanitizer_set_death_callback(tell);
	signal(SIGALRM, stuck);
	signal(SIGABRT, stuck);
	signal(SIGPIPE, SIG_IGN);
	do {
		run();
		seed++;
	} while (time(NULL) < end);
	printf("%lu turns: %lu blocks taken, %lu refused; none harmed\n", turns, taken, refused);
	return 0;
}
