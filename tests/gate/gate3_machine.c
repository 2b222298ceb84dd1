/* SPDX-License-Identifier: MIT */
/*
 * The scenarios pretend their cores, and want as many as each says. What one vcore or two means for
 * them is how many can run at once: the program, and all that it starts, is kept to so many CPUs.
 * (A server that takes a core by force may move a thread off them; it is only less crowded then.)
 */
#include "gate3_machine.h"

#include <sched.h>
#include <string.h>

#include "ordinary.h"
#include "tap.h"

static void keep_to(unsigned cpus)
{
	cpu_set_t all, some;

	CPU_ZERO(&some);
	if (sched_getaffinity(0, sizeof(all), &all))
		tap_bail("affinity: %s", strerror(errno));
	for (unsigned c = 0; c < CPU_SETSIZE && (unsigned)CPU_COUNT(&some) < cpus; c++)
		if (CPU_ISSET(c, &all))
			CPU_SET(c, &some);
	if ((unsigned)CPU_COUNT(&some) < cpus) {
		printf("1..0 # SKIP %u vcores want as many CPUs\n", cpus);
		exit(77);
	}
	if (sched_setaffinity(0, sizeof(some), &some))
		tap_bail("affinity: %s", strerror(errno));
}

void g3_machine_begin(unsigned vcores)
{
	const char *what;
	int ret = ordinary_become(&what);

	if (ret)
		tap_bail("cannot be an ordinary user: %s: %s", what, strerror(-ret));
	if (vcores)
		keep_to(vcores);
}
