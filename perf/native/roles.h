/* roles.h: what the bare servers do with what they get: send it back, drop it, or answer each byte
 * of it with a block.
 */
#ifndef PERF_ROLES_H
#define PERF_ROLES_H

#include <err.h>
#include <string.h>

enum { BLOCK = 256 * 1024 }; /* as in perf/peers/roles.py */
enum role { ECHO, SINK, SOURCE };

static char block[BLOCK];

static inline enum role role_of(int argc, char **argv)
{
	static const char *const names[] = {"echo", "sink", "source"};
	const char *name = argc > 1 ? argv[1] : "echo";
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(name, names[i]))
			return (enum role)i;
	errx(2, "a role is echo, sink or source, not %s", name);
}

#endif
