/* uring_chance.c: which of the faults of uring_faults.c happen, as a seed decides.
 *
 * Each thread draws its own numbers, and how often each kind happens is drawn as well, anew for each
 * seed. Without a seed nothing happens.
 */
#include "uring_chance.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

static _Atomic uint64_t seed; /* 0: off */
static _Atomic uint32_t epoch;
static _Atomic uint32_t threads;
static _Atomic uint64_t counts[KINDS];
static _Thread_local struct {
	uint32_t epoch;
	uint64_t state;
	unsigned rates[KINDS]; /* in 1/1024 */
} my;

static uint64_t next_random(void)
{
	my.state ^= my.state << 13;
	my.state ^= my.state >> 7;
	my.state ^= my.state << 17;
	return my.state;
}

/* Below `bound`, which is 1 or more. */
unsigned below(unsigned bound)
{
	return (unsigned)((next_random() >> 16) % bound);
}

bool chance_is_on(void)
{
	static const unsigned choices[] = {0, 10, 100, 340};
	uint32_t now = epoch;
	if (!seed)
		return false;
	if (my.epoch != now) {
		my.epoch = now;
		my.state = (seed + threads++) * 0x9E3779B97F4A7C15U | 1;
		for (int i = 0; i < 8; i++)
			next_random();
		for (int kind = 0; kind < KINDS; kind++)
			my.rates[kind] = choices[below(4)];
	}
	return true;
}

bool happens(enum kind kind)
{
	if (!chance_is_on() || below(1024) >= my.rates[kind])
		return false;
	counts[kind]++;
	return true;
}

/* For the tests: from here on this seed, 0 for none. */
void rn_faults_seed(uint64_t value)
{
	seed = value;
	threads = 0;
	epoch++;
}

uint64_t rn_faults_count(int kind)
{
	return kind >= 0 && kind < KINDS ? counts[kind] : 0;
}

__attribute__((constructor)) static void from_environment(void)
{
	const char *text = getenv("RINGNET_FAULTS");
	if (text)
		rn_faults_seed(strtoull(text, NULL, 10));
}
