/* distance.c: how far two CPUs are from each other, by the time that a cache line takes between.
 *
 * A virtual machine cannot read it anywhere: its host decides which cores the CPUs are, and may do
 * so anew at any time. Where they share no cache, every server pays more for a message.
 */
#include "load.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { LOOKS = 16, ROUNDS = 32, LOOK_NS = 250 * 1000 };

struct court {
	_Alignas(128) atomic_bool ball; /* is it on the other side? */
	_Alignas(128) atomic_bool over;
};

static void *send_back(void *given)
{
	struct court *court = given;
	while (!atomic_load_explicit(&court->over, memory_order_relaxed))
		if (atomic_load_explicit(&court->ball, memory_order_acquire))
			atomic_store_explicit(&court->ball, false, memory_order_release);
	return NULL;
}

static double look(struct court *court)
{
	uint64_t began = clock_now(), now = began;
	unsigned rounds = 0;
	for (; now - began < LOOK_NS; rounds += ROUNDS, now = clock_now())
		for (int i = 0; i < ROUNDS; i++) {
			atomic_store_explicit(&court->ball, true, memory_order_release);
			while (atomic_load_explicit(&court->ball, memory_order_acquire))
				;
		}
	return (double)(now - began) / rounds;
}

static bool start_on(int cpu, struct court *court, pthread_t *thread)
{
	pthread_attr_t attributes;
	cpu_set_t only;
	CPU_ZERO(&only);
	CPU_SET((unsigned)cpu, &only);
	pthread_attr_init(&attributes);
	pthread_attr_setaffinity_np(&attributes, sizeof only, &only);
	bool started = !pthread_create(thread, &attributes, send_back, court);
	pthread_attr_destroy(&attributes);
	return started;
}

/* Nanoseconds there and back: the least of several looks, since others may have the CPUs meanwhile.
 * 0 where it cannot be known. */
double line_ns(int here, int there)
{
	struct court court = {0};
	pthread_t thread;
	if (here < 0 || there < 0 || here == there || there >= CPU_SETSIZE ||
	    !start_on(there, &court, &thread))
		return 0;
	double least = look(&court);
	for (int i = 1; i < LOOKS; i++) {
		double one = look(&court);
		least = one < least ? one : least;
	}
	atomic_store(&court.over, true);
	pthread_join(thread, NULL);
	return least;
}
