/* SPDX-License-Identifier: MIT */
/*
 * What a CPU must offer to run uthreads: the only header outside src/arch that chooses one.
 * switch.S of each CPU says what may interrupt what.
 */
#ifndef UP_ARCH_ARCH_H
#define UP_ARCH_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include "arch/x86_64/frame.h"
#include "arch/x86_64/fsgs.h"
#include "arch/x86_64/gs.h"
#include "arch/x86_64/tail.h"
#include "arch/x86_64/tls.h"
#else
#error "src/arch has no folder for this CPU: x86-64 is the one that Upcall runs on"
#endif

/* Finds out what this CPU and kernel allow; `again` is called, on the transition stack and in
 * vcore context, when a resume finds something pending; `way_out` where a critical section's
 * second copy ends, with general registers alone to use; `attend` on a uthread's stack, where a switch
 * finds something pending; `left` on the next one's stack, for one that is off its own. */
void up_arch_init(void (*again)(void), void (*way_out)(void), void (*attend)(void),
		  void (*left)(void *));
extern void (*up_arch_vcore_again)(void);
extern void (*up_arch_way_out)(void);
extern void (*up_arch_attend)(void);
extern void (*up_arch_left)(void *);

void up_arch_park(void **save_sp, void (*fn)(void *), void *arg);
void up_arch_switch(void **save_sp, void *sp, void *next, uint64_t fs, void *prev);
__attribute__((noreturn)) void up_arch_over(void *prev);
void up_arch_park_own(void **save_sp, uint64_t value);
uint64_t up_arch_run_vcore(void **own_sp, void *stack, void (*fn)(void *), void *arg);
__attribute__((noreturn)) void up_arch_to_own(uint64_t value);
__attribute__((noreturn)) void up_arch_jump_vcore(void (*fn)(void *), void *arg);
__attribute__((noreturn)) void up_arch_resume_coop(void *sp, uint64_t fs, uint64_t run);
__attribute__((noreturn)) void up_arch_resume_frame(void *frame, uint64_t fs, uint64_t run);

/* Linux' struct rseq_cs, and the word of a thread's rseq area that points to one. */
struct up_rseq_cs {
	uint32_t version, flags;
	uint64_t start_ip, post_commit_offset, abort_ip;
} __attribute__((aligned(32)));

/* Where a call comes back to whose activation has been replaced; see switch.S. */
extern const char up_arch_came_back[], up_arch_came_back_fault[], up_arch_came_back_end[];
extern uint32_t up_arch_home_pid, up_arch_home_signo;
int up_arch_rseq_probe(struct up_rseq_cs *cs, uint64_t *rseq_cs_word);

/* Two bytes of memory that others may unmap, -1 if they have: the handler of the fault must lead from
 * the load to where it has failed. */
int up_arch_peek16(const void *at);
extern const char up_arch_peek16_load[], up_arch_peek16_failed[];

/* Lays out a stack whose first resume calls fn(arg); returns the sp to resume.  fn may return as
 * up_arch_over() goes: see switch.S. */
void *up_arch_new_stack(void *top, void *(*fn)(void *), void *arg);

#endif
