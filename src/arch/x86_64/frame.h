/* SPDX-License-Identifier: MIT */
/*
 * A signal frame as a saved context: what must be changed in it before another thread returns
 * through it, how large it is, and what the interrupted instruction was.
 */
#ifndef UP_ARCH_X86_64_FRAME_H
#define UP_ARCH_X86_64_FRAME_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

static inline uintptr_t up_frame_pc(const ucontext_t *uc)
{
	return (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
}

static inline uintptr_t up_frame_sp(const ucontext_t *uc)
{
	return (uintptr_t)uc->uc_mcontext.gregs[REG_RSP];
}

static inline void up_frame_set_pc(ucontext_t *uc, uintptr_t pc)
{
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
}

/* True when pc lies where a uthread is still saved as it was (switch.S). */
bool up_frame_in_window(const ucontext_t *uc);

/* Interrupted where Linux leads home, before gs:led has counted that. */
bool up_frame_led_uncounted(const ucontext_t *uc);

/* Interrupted on the way home from a page fault, before home_pc was read: back to the fault. */
void up_frame_undo_came_back(ucontext_t *uc, uint64_t home_pc);

/* rt_sigreturn installs uc_stack on the thread that returns: it must be that thread's own. */
void up_frame_set_altstack(ucontext_t *uc, const stack_t *ss);

/* Copies the context and its floating-point state below `sp` (on another stack than the frame's),
 * so that it can be resumed there. */
ucontext_t *up_frame_copy(const ucontext_t *uc, uintptr_t sp);

/* Room that one frame may take on a uthread's stack. */
size_t up_frame_max_size(void);

/* When our signal broke into a system call that Linux will not restart by itself: put the call
 * back to its beginning.  1 repaired, 0 nothing to do, -1 the number could not be told. */
int up_frame_restart_syscall(ucontext_t *uc);

/* What the two bytes before it say of an address: a system call comes back there. */
static inline bool up_frame_is_syscall(int bytes)
{
	return bytes == 0x050f;
}

/* What stands in the registers at a system call: -1 where there is none. */
struct up_frame_call {
	long nr;
	long arg[6];
};
struct up_frame_call up_frame_call(const ucontext_t *uc);

/* At a system call: as if it had been made, with this result. */
void up_frame_end_call(ucontext_t *uc, long result);

/* The next instruction is a system call. */
static inline bool up_frame_at_syscall(const ucontext_t *uc)
{
	const unsigned char *insn = (const unsigned char *)up_frame_pc(uc);

	return (uintptr_t)insn >= 4096 && insn[0] == 0x0f && insn[1] == 0x05;
}

#endif
