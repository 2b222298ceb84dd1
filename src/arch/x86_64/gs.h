/* SPDX-License-Identifier: MIT */
/*
 * The words that running code reaches through the GS base, which x86-64 Linux leaves to user space:
 * one struct up_gs for each activation.
 *
 * In uthread context a preemption may move the caller to another activation between any two
 * instructions, so each accessor below is one GS-relative instruction: its answer was true for the
 * activation on which it executed.  A pointer to the struct may be kept only in vcore context,
 * where nothing moves.  Offsets are known to switch.S.
 */
#ifndef UP_ARCH_X86_64_GS_H
#define UP_ARCH_X86_64_GS_H

#include <stdint.h>

#include "arch/x86_64/gs_asm.h"
#include "base/bug.h"

struct up_gs {
	struct up_gs *self;
	uint64_t run;	 /* the hand-over word: sequence number << 3 | state */
	void *uthread;	 /* the uthread that runs here; owner only */
	uint32_t *disabled; /* the vcore's notif_disabled */
	uint32_t *pending;  /* the vcore's notif_pending */
	uint32_t *parked;   /* the vcore's watcher sleeps and wants waking */
	void *vc_stack;	 /* top of the vcore's transition stack */
	uint64_t fs;	 /* FS base of the activation's own TLS */
	void *own_sp;	 /* the activation's own stack, where its loop continues */
	/* The uthread that runs here is not to be moved: in a section, or in an announced call. */
	uint32_t cs_depth;
	uint32_t call;	 /* class of the announced call + 1, 0 for none */
	uint32_t due;	 /* something waits for the end of the section or call */
	uint32_t tid;	   /* of the activation's kernel thread */
	uint64_t home_pc;  /* where the instruction stands that faulted; home.c */
	uint64_t led;	   /* Linux has led it home: not yet counted; owner only */
};

#define UP_GS_AT(field, off) \
	UP_STATIC_ASSERT(__builtin_offsetof(struct up_gs, field) == (off), #field " has moved")
UP_GS_AT(run, UP_GS_RUN);
UP_GS_AT(uthread, UP_GS_UTHREAD);
UP_GS_AT(disabled, UP_GS_DISABLED);
UP_GS_AT(pending, UP_GS_PENDING);
UP_GS_AT(parked, UP_GS_PARKED);
UP_GS_AT(vc_stack, UP_GS_VC_STACK);
UP_GS_AT(fs, UP_GS_FS);
UP_GS_AT(own_sp, UP_GS_OWN_SP);
UP_GS_AT(cs_depth, UP_GS_CS_DEPTH);
UP_GS_AT(call, UP_GS_CALL);
UP_GS_AT(due, UP_GS_DUE);
UP_GS_AT(tid, UP_GS_TID);
UP_GS_AT(home_pc, UP_GS_HOME_PC);
UP_GS_AT(led, UP_GS_LED);
#undef UP_GS_AT

#define UP_GS_STR_(x) #x
#define UP_GS_STR(x) UP_GS_STR_(x)
#define UP_GS_MEM(off) "%%gs:" UP_GS_STR(off)

/* Vcore context only, or to compare. */
static inline struct up_gs *up_gs_self(void)
{
	struct up_gs *g;

	__asm__ __volatile__("movq " UP_GS_MEM(UP_GS_SELF) ", %0" : "=r"(g));
	return g;
}

static inline void *up_gs_uthread(void)
{
	void *u;

	__asm__ __volatile__("movq " UP_GS_MEM(UP_GS_UTHREAD) ", %0" : "=r"(u));
	return u;
}

static inline uint64_t up_gs_run(void)
{
	uint64_t run;

	__asm__ __volatile__("movq " UP_GS_MEM(UP_GS_RUN) ", %0" : "=r"(run));
	return run;
}

/* Locked: a watcher on another core may take the same word.  Returns what was found. */
static inline uint64_t up_gs_run_cas(uint64_t expected, uint64_t desired)
{
	__asm__ __volatile__("lock cmpxchgq %2, " UP_GS_MEM(UP_GS_RUN)
			     : "+a"(expected)
			     : "0"(expected), "r"(desired)
			     : "memory", "cc");
	return expected;
}

static inline void up_gs_cs_enter(void)
{
	__asm__ __volatile__("incl " UP_GS_MEM(UP_GS_CS_DEPTH)::: "memory", "cc");
}

static inline void up_gs_section_enter(void)
{
	__asm__ __volatile__("addl $" UP_GS_STR(UP_CS_PROGRAM) ", " UP_GS_MEM(UP_GS_CS_DEPTH)::
				     : "memory", "cc");
}

static inline uint32_t up_gs_depth(void)
{
	uint32_t depth;

	__asm__ __volatile__("movl " UP_GS_MEM(UP_GS_CS_DEPTH) ", %0" : "=r"(depth)::"memory");
	return depth;
}

static inline int up_gs_section_leave(void)
{
	int outermost;

	__asm__ __volatile__("subl $" UP_GS_STR(UP_CS_PROGRAM) ", " UP_GS_MEM(UP_GS_CS_DEPTH)
			     : "=@ccz"(outermost)
			     :
			     : "memory");
	return outermost;
}

/* True when this left the outermost section. */
static inline int up_gs_cs_leave(void)
{
	int outermost;

	__asm__ __volatile__("decl " UP_GS_MEM(UP_GS_CS_DEPTH)
			     : "=@ccz"(outermost)
			     :
			     : "memory");
	return outermost;
}

static inline void up_gs_call_set(uint32_t call)
{
	__asm__ __volatile__("movl %0, " UP_GS_MEM(UP_GS_CALL)::"ri"(call) : "memory");
}

static inline void up_gs_due_set(void)
{
	__asm__ __volatile__("movl $1, " UP_GS_MEM(UP_GS_DUE)::: "memory");
}

static inline uint32_t up_gs_due(void)
{
	uint32_t due;

	__asm__ __volatile__("movl " UP_GS_MEM(UP_GS_DUE) ", %0" : "=r"(due)::"memory");
	return due;
}

/* The words of the vcore we are on now; a stale answer is a spurious one. */
static inline uint32_t up_gs_pending(void)
{
	uint32_t *p;

	__asm__ __volatile__("movq " UP_GS_MEM(UP_GS_PENDING) ", %0" : "=r"(p));
	return *(volatile uint32_t *)p;
}

#endif
