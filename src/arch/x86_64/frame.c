/* SPDX-License-Identifier: MIT */
/*
 * Signal frames of x86-64 Linux.  Called in signal handlers and vcore context: no TLS, no libc
 * beyond memcpy, no allocation.
 */
#include "arch/arch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "base/bits.h"
#include "base/mutant.h"

bool up_arch_fsgsbase;
void (*up_arch_vcore_again)(void);
void (*up_arch_way_out)(void);
void (*up_arch_attend)(void);
void (*up_arch_left)(void *);
uint32_t up_arch_home_pid, up_arch_home_signo;

extern const char up_arch_coop_begin[], up_arch_coop_end[];
extern const char up_arch_frame_begin[], up_arch_frame_end[];
extern const char up_arch_uthread_begin[];
extern const char up_arch_came_back_fault_moved[], up_arch_came_back_fault_counted[];
extern const char up_arch_came_back_counted[];
extern const char up_arch_syscall_back[];

/* Linux keeps words of its own behind the legacy area of the floating-point state. */
#define FP_MAGIC1	    0x46505853u
#define FP_SW_MAGIC	    464 /* offset of magic1 */
#define FP_SW_SIZE	    468 /* offset of extended_size */
#define FP_LEGACY_SZ	    512
#define HWCAP2_FSGSBASE_BIT 2u
/* Only what Linux itself puts in a frame, not glibc's longer ucontext_t. */
#define UC_KERNEL_SZ offsetof(ucontext_t, uc_sigmask) + 8

void up_arch_init(void (*again)(void), void (*way_out)(void), void (*attend)(void),
		  void (*left)(void *))
{
	up_arch_fsgsbase = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT) != 0 &&
			   !getenv("UPCALL_NO_FSGSBASE");
	up_arch_vcore_again = again;
	up_arch_way_out = way_out;
	up_arch_attend = attend;
	up_arch_left = left;
}

void *up_arch_new_stack(void *top, void *(*fn)(void *), void *arg)
{
	uint64_t *sp = (uint64_t *)UP_ALIGN_DOWN((uintptr_t)top, (uintptr_t)64) - 8;

	memset(sp, 0, 64);
	((uint32_t *)sp)[0] = 0x1f80; /* mxcsr: all exceptions masked, to nearest */
	((uint32_t *)sp)[1] = 0x037f; /* x87: the same, extended precision */
	sp[4] = (uintptr_t)fn;	      /* r12 */
	sp[5] = (uintptr_t)arg;	      /* rbx */
	sp[7] = (uintptr_t)up_arch_uthread_begin;
	return sp;
}

bool up_frame_in_window(const ucontext_t *uc)
{
	uintptr_t pc = up_frame_pc(uc);

	if (UP_MUT(window_not_recognised))
		return false;
	return (pc >= (uintptr_t)up_arch_coop_begin && pc < (uintptr_t)up_arch_coop_end) ||
	       (pc >= (uintptr_t)up_arch_frame_begin && pc < (uintptr_t)up_arch_frame_end);
}

bool up_frame_led_uncounted(const ucontext_t *uc)
{
	uintptr_t pc = up_frame_pc(uc);

	return (pc >= (uintptr_t)up_arch_came_back && pc < (uintptr_t)up_arch_came_back_counted) ||
	       (pc >= (uintptr_t)up_arch_came_back_fault &&
		pc < (uintptr_t)up_arch_came_back_fault_counted);
}

void up_frame_undo_came_back(ucontext_t *uc, uint64_t home_pc)
{
	uintptr_t pc = up_frame_pc(uc);

	if (pc != (uintptr_t)up_arch_came_back_fault &&
	    pc != (uintptr_t)up_arch_came_back_fault_moved)
		return;
	if (pc == (uintptr_t)up_arch_came_back_fault_moved)
		uc->uc_mcontext.gregs[REG_RSP] += 128;
	up_frame_set_pc(uc, home_pc);
}

void up_frame_set_altstack(ucontext_t *uc, const stack_t *ss)
{
	uc->uc_stack = *ss;
}

static size_t fp_size(const void *fp)
{
	uint32_t magic, sz;

	memcpy(&magic, (const char *)fp + FP_SW_MAGIC, sizeof(magic));
	memcpy(&sz, (const char *)fp + FP_SW_SIZE, sizeof(sz));
	return magic == FP_MAGIC1 && sz >= FP_LEGACY_SZ ? sz : FP_LEGACY_SZ;
}

ucontext_t *up_frame_copy(const ucontext_t *uc, uintptr_t sp)
{
	const void *fp = uc->uc_mcontext.fpregs;
	size_t fp_sz = fp ? fp_size(fp) : 0;
	uintptr_t fp_at = UP_ALIGN_DOWN(sp - 128 - fp_sz, (uintptr_t)64);
	ucontext_t *to = (ucontext_t *)UP_ALIGN_DOWN(fp_at - (UC_KERNEL_SZ), (uintptr_t)16);

	memcpy(to, uc, UC_KERNEL_SZ);
	if (fp) {
		memcpy((void *)fp_at, fp, fp_sz);
		to->uc_mcontext.fpregs = (fpregset_t)fp_at;
	}
	return to;
}

size_t up_frame_max_size(void)
{
	/* AT_MINSIGSTKSZ counts the whole frame with all extended state this CPU may have live. */
	size_t sz = getauxval(AT_MINSIGSTKSZ);

	return (sz ? sz : 4096) + 128 + 64;
}

#define NR_MAX	 0x200
#define NOT_HERE -1 /* no instruction that writes rax */
#define NOT_TOLD -2 /* one that does, with what cannot be told */
/* The bit of the flags register that is set whatever the program does. */
#define FLAGS_ALWAYS 2

/* mov $nr, %eax; or xor %eax, %eax, for read(). */
static int number_moved(const unsigned char *at, int room)
{
	int nr = room >= 5 ? at[1] | at[2] << 8 : NR_MAX;

	if (at[0] == 0x31 && at[1] == 0xc0 && (at[-1] & 0xf1) != 0x41)
		return 0;
	return at[0] == 0xb8 && nr < NR_MAX && !at[3] && !at[4] ? nr : NOT_HERE;
}

/* mov %reg, %rax or %eax, where the call leaves the register alone: it still holds the number. */
static int number_copied(const ucontext_t *uc, const unsigned char *at)
{
	static const int kept[16] = { [3] = REG_RBX,  [5] = REG_RBP,  [12] = REG_R12,
				      [13] = REG_R13, [14] = REG_R14, [15] = REG_R15 };
	unsigned rex = (at[-1] & 0xf0) == 0x40 ? at[-1] : 0;
	unsigned reg = (at[1] >> 3 & 7) | (rex & 4) << 1;
	greg_t nr;

	/* With the last bit of the prefix set it is a move to %r8: the fifth argument. */
	if (at[0] != 0x89 || (at[1] & 0xc7) != 0xc0 || (rex & 1))
		return NOT_HERE;
	if (!kept[reg])
		return NOT_TOLD; /* it may have been given an argument since */
	nr = uc->uc_mcontext.gregs[kept[reg]];
	return nr >= 0 && nr < NR_MAX ? (int)nr : NOT_TOLD;
}

/* What stands in rax before `syscall`.  Moves of arguments may stand in between: a few bytes are
 * searched, nearest first. */
static int syscall_nr_before(const ucontext_t *uc, const unsigned char *insn)
{
	int back, nr = NOT_HERE;

	if ((uintptr_t)insn + 2 == (uintptr_t)up_arch_syscall_back && !UP_MUT(syscall_number_lost))
		return *(const int *)(up_frame_sp(uc) - 8);
	for (back = 2; back <= 24 && nr == NOT_HERE; back++) {
		nr = number_moved(insn - back, back);
		if (nr == NOT_HERE)
			nr = number_copied(uc, insn - back);
	}
	return nr;
}

int up_frame_restart_syscall(ucontext_t *uc)
{
	uintptr_t back = (uintptr_t)uc->uc_mcontext.gregs[REG_RCX];
	const unsigned char *insn = (const unsigned char *)back - 2;
	int nr;

	/* Behind a call r11 holds the flags, but not behind one that we have ended. */
	if (uc->uc_mcontext.gregs[REG_RAX] != -EINTR ||
	    !(uc->uc_mcontext.gregs[REG_R11] & FLAGS_ALWAYS))
		return 0;
	/* rcx holds the return address only when a system call has just come back: to there, or, when
	 * the caller was to be called home, to where Linux moved it before it made this frame. */
	if (back != up_frame_pc(uc) && up_frame_pc(uc) != (uintptr_t)up_arch_came_back)
		return 0;
	if (back < 4096 || insn[0] != 0x0f || insn[1] != 0x05)
		return 0;
	nr = syscall_nr_before(uc, insn);
	if (nr < 0)
		return -1;
	if (nr == SYS_close &&
	    !UP_MUT(closed_twice)) { /* it has: the number may be another file's */
		uc->uc_mcontext.gregs[REG_RAX] = 0;
		return 1;
	}
	uc->uc_mcontext.gregs[REG_RAX] = nr;
	up_frame_set_pc(uc, (uintptr_t)insn);
	return 1;
}

struct up_frame_call up_frame_call(const ucontext_t *uc)
{
	static const int regs[6] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9 };
	struct up_frame_call c = { .nr = -1 };
	size_t i;

	if (!up_frame_at_syscall(uc))
		return c;
	c.nr = (long)uc->uc_mcontext.gregs[REG_RAX];
	for (i = 0; i < UP_ARRAY_LEN(regs); i++)
		c.arg[i] = (long)uc->uc_mcontext.gregs[regs[i]];
	return c;
}

void up_frame_end_call(ucontext_t *uc, long result)
{
	uc->uc_mcontext.gregs[REG_RAX] = result;
	up_frame_set_pc(uc, up_frame_pc(uc) + 2);
	uc->uc_mcontext.gregs[REG_RCX] = (greg_t)up_frame_pc(uc); /* up_arch_came_back needs it */
	uc->uc_mcontext.gregs[REG_R11] = UP_MUT(ended_call_mended) ? FLAGS_ALWAYS : 0;
}
