/* SPDX-License-Identifier: MIT */
/* Whose programs those of gate 3 are, and on how much of the machine. */
#ifndef UP_TESTS_GATE3_MACHINE_H
#define UP_TESTS_GATE3_MACHINE_H

/* The first thing in main(): an ordinary user's from here on, perf and io_uring denied.  vcores: so
 * many of its vcores can run at once, since there are so many CPUs for all of it; 0: what there is.
 * Ends the program, with a SKIP, where the machine has fewer. */
void g3_machine_begin(unsigned vcores);

#endif
