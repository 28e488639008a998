/* uring_chance.h: which faults happen, as a seed decides. */
#ifndef RINGNET_URING_CHANCE_H
#define RINGNET_URING_CHANCE_H

#include <stdbool.h>

enum kind {
	SHORT_READ,
	SHORT_WRITE,
	PASSING_ERROR,
	NO_BUFFER,
	POLLED_FIRST,
	FAILED_ACCEPT,
	REORDERED,
	LATE_CANCEL,
	SMALL_RING,
	INTERRUPTED,
	SLOW_CLOSE,
	KINDS
};

bool chance_is_on(void);
bool happens(enum kind kind);
unsigned below(unsigned bound);

#endif
