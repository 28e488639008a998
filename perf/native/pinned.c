/* pinned.c: runs a command on some CPUs, and ends it when its time is over.
 *
 *     pinned CPU[,CPU...] SECONDS COMMAND [ARGUMENT...]
 *
 * The command takes this process's place and has its pid. The alarm is the last resort, for when
 * nobody is left to end it; 0 is none.
 * Exit status: the command's; 2 the CPUs cannot be had; 127 the command cannot be run.
 */
#define _GNU_SOURCE
#include <err.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static cpu_set_t read_cpus(char *list)
{
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	for (char *one = strtok(list, ","); one; one = strtok(NULL, ","))
		CPU_SET((unsigned)atoi(one), &cpus);
	return cpus;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		errx(2, "usage: pinned CPU[,CPU...] SECONDS COMMAND [ARGUMENT...]");
	cpu_set_t cpus = read_cpus(argv[1]);
	if (sched_setaffinity(0, sizeof cpus, &cpus) < 0)
		err(2, "cannot run on the CPUs asked for");
	alarm((unsigned)atoi(argv[2])); /* survives exec; its default is to end the process */
	execvp(argv[3], argv + 3);
	err(127, "%s", argv[3]);
}
