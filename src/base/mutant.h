/* SPDX-License-Identifier: MIT */
/*
 * UP_MUT(name): 1 in a build where UP_MUT_name is defined as 1 (meson -Dmutant=name), 0 in every
 * other; a constant expression, so that `if (!UP_MUT(x)) ...` costs nothing and both branches
 * always compile, and `#if UP_MUT(x)` works too, in assembly for one. Each name stands in
 * tests/mutants/mutants.txt with the test that must notice the defect. Name it after the order of
 * the code that it breaks.
 */
#ifndef UP_BASE_MUTANT_H
#define UP_BASE_MUTANT_H

#ifdef UP_MUTANT_CHOICE
#include UP_MUTANT_CHOICE
#endif

#define UP_MUT(name) UP_MUT_IS_ONE_(UP_MUT_##name)

/* Only the token 1 turns into an extra argument, which pushes the 1 below into second place. */
#define UP_MUT_IS_ONE_(value)	  UP_MUT_PASTE_(value)
#define UP_MUT_PASTE_(value)	  UP_MUT_PICK_(UP_MUT_ARG_##value)
#define UP_MUT_ARG_1		  0,
#define UP_MUT_PICK_(arg)	  UP_MUT_SECOND_(arg 1, 0, )
#define UP_MUT_SECOND_(a, b, ...) b

#endif
