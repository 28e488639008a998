/* histogram.h: durations in buckets that grow with them, so that any fits and none is off by more
 * than 3 %. The first 2 * SUB buckets are a nanosecond wide; then each SUB double the width.
 */
#ifndef PERF_HISTOGRAM_H
#define PERF_HISTOGRAM_H

#include <stdint.h>

enum { SUB_BITS = 5, SUB = 1 << SUB_BITS, BUCKETS = 64 * SUB };

struct histogram {
	uint64_t buckets[BUCKETS], count;
};

static inline void count_latency(struct histogram *h, uint64_t ns)
{
	unsigned shift = ns < SUB ? 0 : 63 - (unsigned)__builtin_clzll(ns) - SUB_BITS;
	h->buckets[shift * SUB + (unsigned)(ns >> shift)]++;
	h->count++;
}

static inline double middle_us(unsigned bucket)
{
	unsigned shift = bucket < 2 * SUB ? 0 : bucket / SUB - 1;
	uint64_t low = (uint64_t)(bucket - shift * SUB) << shift;
	return ((double)low + (double)(1ull << shift) / 2) / 1e3;
}

/* The duration that `part` (below 1) of all do not pass, in microseconds; 0 without any. */
static inline double percentile_us(const struct histogram *h, double part)
{
	uint64_t wanted = (uint64_t)((double)h->count * part), seen = 0;
	for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
		seen += h->buckets[bucket];
		if (seen > wanted)
			return middle_us(bucket);
	}
	return 0;
}

/* The longest, as near as its bucket tells; 0 without any. */
static inline double largest_us(const struct histogram *h)
{
	for (unsigned bucket = BUCKETS; bucket-- > 0;)
		if (h->buckets[bucket])
			return middle_us(bucket);
	return 0;
}

#endif
