/* SPDX-License-Identifier: MIT */
/*
 * Moving the processor between stacks: uthread, transition stack, an activation's own stack.
 *
 * Three rules make it safe to be interrupted at any instruction:
 *  - while gs:run says VCORE the notification handler returns at once, so nothing here is seen
 *    half done;
 *  - leaving vcore context is one locked exchange of gs:run; all that the uthread needs stands in
 *    memory by then, and stays there until the last instruction of the window (the saved area
 *    lies within the red zone of the moving stack pointer).  An interruption inside a window
 *    [begin, end) is therefore dropped: the uthread is still saved as it was;
 *  - from that exchange on, words of the vcore are reached through GS afresh each time.
 */
#include "arch/x86_64/gs_asm.h"
#include "base/mutant.h"

	.text

/* Callee-saved state: 64 bytes with the return address. */
	.macro SAVE_REGS
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	.endm

	/* For who looks at this from outside: SAVE_REGS has left it so, from the stack pointer on. */
	.macro CFI_SAVED
	.cfi_def_cfa rsp, 64
	.cfi_offset rip, -8
	.cfi_offset rbp, -16
	.cfi_offset rbx, -24
	.cfi_offset r12, -32
	.cfi_offset r13, -40
	.cfi_offset r14, -48
	.cfi_offset r15, -56
	.endm

	.macro POP_REG reg
	popq	%\reg
	.cfi_adjust_cfa_offset -8
	.cfi_restore \reg
	.endm

	.macro LOAD_REGS
#if !UP_MUT(switch_mxcsr_not_loaded)
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
#endif
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
#if UP_MUT(switch_r15_not_loaded)
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
#else
	POP_REG	r15
#endif
	POP_REG	r14
	POP_REG	r13
	POP_REG	r12
	POP_REG	rbx
	POP_REG	rbp
	.endm

/* The activation's own FS base.  After the stack pointer has been moved. */
	.macro OWN_FS scratch
	cmpb	$0, up_arch_fsgsbase(%rip)
	je	8f
	movq	%gs:UP_GS_FS, \scratch
	wrfsbase \scratch
	jmp	9f
8:
	call	own_fs_by_call
9:
	.endm

/* Where Linux must be asked to set it.  Keeps every register. */
	.type	own_fs_by_call, @function
	.p2align 4
own_fs_by_call:
	.cfi_startproc
	.cfi_undefined rip
#if !UP_MUT(own_fs_not_by_call)
	pushq	%rax
	pushq	%rcx
	pushq	%rsi
	pushq	%rdi
	pushq	%r11
	movl	$158, %eax			/* arch_prctl */
	movl	$0x1002, %edi			/* ARCH_SET_FS */
	movq	%gs:UP_GS_FS, %rsi
	syscall
	popq	%r11
	popq	%rdi
	popq	%rsi
	popq	%rcx
	popq	%rax
#endif
	ret
	.cfi_endproc
	.size	own_fs_by_call, . - own_fs_by_call

	.macro FUNC name
	.globl	\name
	.hidden	\name
	.type	\name, @function
	.p2align 4
\name:
	.cfi_startproc
	endbr64
	.endm

	.macro ENDFUNC name
	.cfi_endproc
	.size	\name, . - \name
	.endm

/* void up_arch_park(void **save_sp, void (*fn)(void *), void *arg): on a uthread's stack, state
 * VCORE already.  Saves the caller, calls fn(arg) on the transition stack; comes back when the
 * uthread is resumed, wherever that is. */
FUNC up_arch_park
	SAVE_REGS
	movq	%rsp, (%rdi)
	movq	%gs:UP_GS_VC_STACK, %rsp
	.cfi_undefined rip
	OWN_FS	%rax
	movq	%rdx, %rdi
	xorl	%ebp, %ebp
	call	*%rsi
	ud2
ENDFUNC up_arch_park

/*
 * void up_arch_switch(void **save_sp, void *sp, void *next, uint64_t fs, void *prev):
 * in uthread context, in the innermost of our sections, from one uthread to the next without a way over
 * the transition stack: the hand-over word stays as it is. On next's stack, before anything else,
 * *up_arch_left lets others know of who has left, prev, unless that is NULL. Leaves the section.
 *
 * One that has not begun is jumped to, not returned to, and comes back by a return when it ends in favour
 * of who left for it: so the processor's record of calls is as deep as they are, and none of the returns
 * behind that is taken for another.
 *
 * The section keeps this from being seen half done: the handler puts off whatever comes, and what it
 * could not tell, between the two words that say who runs here, is found pending at the end.
 */
FUNC up_arch_switch
	SAVE_REGS
	movq	%rsp, (%rdi)
	movl	(%rsp), %ebx
	movzwl	4(%rsp), %ebp
	movq	%rdx, %gs:UP_GS_UTHREAD
	movq	%rsi, %rsp
	CFI_SAVED
#if !UP_MUT(switch_fs_not_set)
	testq	%rcx, %rcx
	jz	1f
	wrfsbase %rcx
1:
#endif
.Lon_next:
	testq	%r8, %r8
	jz	2f
	movq	%r8, %rdi
#if !UP_MUT(left_untold)
	call	*up_arch_left(%rip)
#endif
2:
	decl	%gs:UP_GS_CS_DEPTH
#if !UP_MUT(switch_pending_not_checked)
	movq	%gs:UP_GS_PENDING, %rax
	movl	(%rax), %eax
	orl	%gs:UP_GS_DUE, %eax
	jnz	4f
3:
#endif
	/* Loading the control words costs more than all the rest, and they are the same as a rule. */
	cmpl	%ebx, (%rsp)
	jne	5f
	cmpw	%bp, 4(%rsp)
	jne	5f
6:
	leaq	up_arch_uthread_begin(%rip), %rax
	cmpq	%rax, 56(%rsp)
	je	7f
	.cfi_remember_state
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	POP_REG	r15
	POP_REG	r14
	POP_REG	r13
	POP_REG	r12
	POP_REG	rbx
	POP_REG	rbp
	ret
	.cfi_restore_state
#if !UP_MUT(switch_pending_not_checked)
4:
	call	*up_arch_attend(%rip)
	/* Another may have run here since. */
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	jmp	6b
#endif
5:
#if !UP_MUT(switch_control_not_loaded)
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
#endif
	jmp	6b
7:
	movq	32(%rsp), %r12
	movq	40(%rsp), %rbx
	leaq	64(%rsp), %rsp
	.cfi_undefined rip
	jmp	up_arch_uthread_begin
ENDFUNC up_arch_switch

/* void up_arch_park_own(void **save_sp, uint64_t value): the same for a uthread whose activation
 * has been replaced: up_arch_run_vcore() returns `value` on the activation's own stack. */
FUNC up_arch_park_own
	SAVE_REGS
	movq	%rsp, (%rdi)
	movq	%rsi, %rdi
	jmp	.Lto_own
ENDFUNC up_arch_park_own

/* uint64_t up_arch_run_vcore(void **own_sp, void *stack, void (*fn)(void *), void *arg) */
FUNC up_arch_run_vcore
	SAVE_REGS
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	.cfi_undefined rip
	movq	%rcx, %rdi
	xorl	%ebp, %ebp
	call	*%rdx
	ud2
ENDFUNC up_arch_run_vcore

/* noreturn void up_arch_to_own(uint64_t value) */
FUNC up_arch_to_own
	.cfi_undefined rip
.Lto_own:
	movq	%gs:UP_GS_OWN_SP, %rsp
	CFI_SAVED
	OWN_FS	%rax
	cld
	LOAD_REGS
	movq	%rdi, %rax
	ret
ENDFUNC up_arch_to_own

/* noreturn void up_arch_jump_vcore(void (*fn)(void *), void *arg): whatever stack this is on, it
 * is left for good. */
FUNC up_arch_jump_vcore
	.cfi_undefined rip
	movq	%gs:UP_GS_VC_STACK, %rsp
	OWN_FS	%rax
	movq	%rdi, %rax
	movq	%rsi, %rdi
	xorl	%ebp, %ebp
	cld
	call	*%rax
	ud2
ENDFUNC up_arch_jump_vcore

/* After the exchange that left vcore context: is there a reason to go straight back? */
	.macro LEAVE_VCORE
#if !UP_MUT(leave_disabled_not_cleared)
	movq	%gs:UP_GS_DISABLED, %rax
	movl	$0, (%rax)
#endif
	.endm

	.macro LOOK_AGAIN pending
#if !UP_MUT(leave_pending_not_checked)
	movq	%gs:UP_GS_PENDING, %rax
	movl	(%rax), %ecx
	movq	%gs:UP_GS_PARKED, %rax
	orl	(%rax), %ecx
	jnz	\pending
#endif
	.endm

/* Back into vcore context with the uthread's saved state as it was. */
	.macro GO_BACK
	movq	%gs:UP_GS_RUN, %rax
1:
	movl	%eax, %ecx
	andl	$UP_RUN_MASK, %ecx
	cmpl	$UP_RUN_UTHREAD, %ecx
	jne	2f
	leaq	(UP_RUN_VCORE - UP_RUN_UTHREAD)(%rax), %rcx
	lock cmpxchgq %rcx, %gs:UP_GS_RUN
	jne	1b
	jmp	.Lwent_back
2:					/* stolen meanwhile: nobody may interrupt from here on */
	movq	%rax, %rcx
	andq	$~UP_RUN_MASK, %rcx
	lock cmpxchgq %rcx, %gs:UP_GS_RUN
	jne	1b
	movl	$UP_OWN_REJOIN, %edi
	jmp	.Lto_own
	.endm

/* noreturn void up_arch_resume_coop(void *sp, uint64_t fs, uint64_t run): vcore context.  `run` is
 * the new hand-over word; fs is 0 where it has been set by system call. */
FUNC up_arch_resume_coop
	.cfi_undefined rip
#if !UP_MUT(resume_fs_not_restored)
	testq	%rsi, %rsi
	jz	1f
	wrfsbase %rsi
1:
#endif
	movq	%rdi, %rsp
	CFI_SAVED
	LEAVE_VCORE
	.globl	up_arch_coop_begin
	.hidden	up_arch_coop_begin
up_arch_coop_begin:
	xchgq	%rdx, %gs:UP_GS_RUN	/* full fence: pairs with the poster's, pending then disabled */
	LOOK_AGAIN .Lcoop_pending
	.cfi_remember_state
	LOAD_REGS
	ret
	.cfi_restore_state
.Lcoop_pending:
	GO_BACK
	.globl	up_arch_coop_end
	.hidden	up_arch_coop_end
up_arch_coop_end:
	nop
ENDFUNC up_arch_resume_coop

/* noreturn void up_arch_resume_frame(void *ucontext, uint64_t fs, uint64_t run): the same for a
 * uthread that a signal interrupted, whose frame lies on its own stack. */
FUNC up_arch_resume_frame
	.cfi_undefined rip
#if !UP_MUT(resume_fs_not_restored)
	testq	%rsi, %rsi
	jz	1f
	wrfsbase %rsi
1:
#endif
	movq	%rdi, %rsp
	LEAVE_VCORE
	.globl	up_arch_frame_begin
	.hidden	up_arch_frame_begin
up_arch_frame_begin:
	xchgq	%rdx, %gs:UP_GS_RUN
	LOOK_AGAIN .Lframe_pending
	movl	$15, %eax		/* rt_sigreturn: Linux looks for the frame at rsp - 8 */
	syscall
	ud2
.Lframe_pending:
	GO_BACK
	.globl	up_arch_frame_end
	.hidden	up_arch_frame_end
up_arch_frame_end:
	nop
.Lwent_back:
	movq	%gs:UP_GS_DISABLED, %rax
	movl	$1, (%rax)
	movq	%gs:UP_GS_VC_STACK, %rsp
	OWN_FS	%rax
	xorl	%ebp, %ebp
	call	*up_arch_vcore_again(%rip)
	ud2
ENDFUNC up_arch_resume_frame

/* Where a new uthread begins: rbx its struct, r12 what to call with it.  Unwinders stop here.  It may
 * return in the innermost of our sections, off for good: then who goes on is the one that gs:uthread has
 * been made to say, which begins with its sp.  It returns what is prev there. */
FUNC up_arch_uthread_begin
	.cfi_undefined rip
	.cfi_undefined rbp
	movq	%rbx, %rdi
	xorl	%ebp, %ebp
	call	*%r12
.Lover:
#if !UP_MUT(over_control_kept)
	stmxcsr	-8(%rsp)
	fnstcw	-4(%rsp)
	movl	-8(%rsp), %ebx
	movzwl	-4(%rsp), %ebp
#endif
	movq	%gs:UP_GS_UTHREAD, %rdx
	movq	(%rdx), %rsp
#if UP_MUT(over_control_kept)
	movl	(%rsp), %ebx
	movzwl	4(%rsp), %ebp
#endif
	movq	%rax, %r8
	jmp	.Lon_next
ENDFUNC up_arch_uthread_begin

/* noreturn void up_arch_over(void *prev): the same from further in. */
FUNC up_arch_over
	.cfi_undefined rip
	movq	%rdi, %rax
	jmp	.Lover
ENDFUNC up_arch_over

/* void upcall_critical_way_out(void): the end of a section's second copy.  Its caller takes it for
 * an instruction that changes nothing, so every register is kept; the vector ones are not touched. */
	.globl	upcall_critical_way_out
	.type	upcall_critical_way_out, @function
	.p2align 4
upcall_critical_way_out:
	.cfi_startproc
	endbr64
	pushfq
	pushq	%rbp
	movq	%rsp, %rbp
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	andq	$-16, %rsp
	cld
	call	*up_arch_way_out(%rip)
	leaq	-80(%rbp), %rsp
	popq	%rbx
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	popq	%rbp
	popfq
	ret
	.cfi_endproc
	.size	upcall_critical_way_out, . - upcall_critical_way_out

/*
 * Where Linux sends a uthread that comes back from a system call after its activation was replaced:
 * the activation's rseq area names the instruction behind the call as a critical section of one byte
 * (host/home.c), and a task that has been off the processor is moved from there to here before it
 * runs an instruction of its own.  rcx holds the way back, as after every system call; r11 is dead
 * and so are the flags.
 *
 * Replaced: be interrupted by the notification signal, whose handler hands the uthread back.  Not
 * replaced: go on.
 */
	.p2align 4
	.long	UP_RSEQ_SIGNATURE
	.globl	up_arch_came_back
	.hidden	up_arch_came_back
	.type	up_arch_came_back, @function
up_arch_came_back:
	.cfi_startproc
	.cfi_signal_frame		/* the way back is not behind a call */
	.cfi_def_cfa rsp, 0
	.cfi_register rip, rcx
	/* One instruction tells and, where we are still in place, outdates whoever is about to replace
	 * us on the strength of a look at this sleep. */
	movl	$UP_RUN_SEQ, %r11d
	lock xaddq %r11, %gs:UP_GS_RUN
	andl	$UP_RUN_MASK, %r11d
	cmpl	$UP_RUN_STOLEN, %r11d
	je	1f
	jmp	*%rcx
1:
	incq	%gs:UP_GS_LED
	.globl	up_arch_came_back_counted
	.hidden	up_arch_came_back_counted
up_arch_came_back_counted:
	leaq	-128(%rsp), %rsp
	.cfi_adjust_cfa_offset 128
	pushq	%rcx
	.cfi_adjust_cfa_offset 8
	.cfi_offset rip, -136
	.cfi_offset rcx, -136
	pushq	%rax
	.cfi_adjust_cfa_offset 8
	.cfi_offset rax, -144
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	.cfi_offset rdi, -152
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	.cfi_offset rsi, -160
	pushq	%rdx
	.cfi_adjust_cfa_offset 8
	.cfi_offset rdx, -168
	movl	up_arch_home_pid(%rip), %edi
	movl	%gs:UP_GS_TID, %esi
	movl	up_arch_home_signo(%rip), %edx
	movl	$234, %eax			/* tgkill */
	syscall
	popq	%rdx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rdx
	popq	%rsi
	.cfi_adjust_cfa_offset -8
	.cfi_restore rsi
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	.cfi_restore rdi
	popq	%rax
	.cfi_adjust_cfa_offset -8
	.cfi_restore rax
	movq	(%rsp), %rcx			/* led here once more from there, rcx must lead back */
	ret	$128
	.cfi_endproc
	.size	up_arch_came_back, . - up_arch_came_back

/*
 * The same for one that comes back from a page fault: any register may be live, so all are kept, and
 * the way back is to the instruction that faulted, which gs:home_pc names on this activation alone.
 * Interrupted before that word has been read, the handler undoes what was done (frame.c).
 */
	.p2align 4
	.long	UP_RSEQ_SIGNATURE
	.globl	up_arch_came_back_fault
	.hidden	up_arch_came_back_fault
	.type	up_arch_came_back_fault, @function
up_arch_came_back_fault:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_def_cfa rsp, 0
	.cfi_undefined rip		/* gs:home_pc */
	leaq	-128(%rsp), %rsp
	.cfi_adjust_cfa_offset 128
	.globl	up_arch_came_back_fault_moved
	.hidden	up_arch_came_back_fault_moved
up_arch_came_back_fault_moved:
	pushq	%gs:UP_GS_HOME_PC
	.cfi_adjust_cfa_offset 8
	.cfi_offset rip, -136
	pushfq
	.cfi_adjust_cfa_offset 8
	pushq	%rax
	.cfi_adjust_cfa_offset 8
	.cfi_offset rax, -152
	movl	$UP_RUN_SEQ, %eax
	lock xaddq %rax, %gs:UP_GS_RUN
	andl	$UP_RUN_MASK, %eax
	cmpl	$UP_RUN_STOLEN, %eax
	jne	1f
	incq	%gs:UP_GS_LED
	.globl	up_arch_came_back_fault_counted
	.hidden	up_arch_came_back_fault_counted
up_arch_came_back_fault_counted:
	pushq	%rcx
	.cfi_adjust_cfa_offset 8
	.cfi_offset rcx, -160
	pushq	%r11
	.cfi_adjust_cfa_offset 8
	.cfi_offset r11, -168
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	.cfi_offset rdi, -176
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	.cfi_offset rsi, -184
	pushq	%rdx
	.cfi_adjust_cfa_offset 8
	.cfi_offset rdx, -192
	movl	up_arch_home_pid(%rip), %edi
	movl	%gs:UP_GS_TID, %esi
	movl	up_arch_home_signo(%rip), %edx
	movl	$234, %eax			/* tgkill */
	syscall
	popq	%rdx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rdx
	popq	%rsi
	.cfi_adjust_cfa_offset -8
	.cfi_restore rsi
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	.cfi_restore rdi
	popq	%r11
	.cfi_adjust_cfa_offset -8
	.cfi_restore r11
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rcx
1:
	popq	%rax
	.cfi_adjust_cfa_offset -8
	.cfi_restore rax
	popfq
	.cfi_adjust_cfa_offset -8
	ret	$128
	.cfi_endproc
	.size	up_arch_came_back_fault, . - up_arch_came_back_fault
	.globl	up_arch_came_back_end
	.hidden	up_arch_came_back_end
up_arch_came_back_end:

/* int up_arch_rseq_probe(struct up_rseq_cs *cs, uint64_t *rseq_cs_word): sleeps for a moment with
 * the section set behind the call.  1: Linux brought us to the abort address. */
FUNC up_arch_rseq_probe
	pushq	%rbx
	subq	$16, %rsp
	movq	$0, (%rsp)
	movq	$100000, 8(%rsp)
	leaq	2f(%rip), %rax
	movq	%rax, 8(%rdi)			/* start_ip */
	leaq	up_arch_rseq_probed(%rip), %rax
	movq	%rax, 24(%rdi)			/* abort_ip */
	movq	%rsi, %rbx
	movq	%rdi, (%rsi)
	movq	%rsp, %rdi
	xorl	%esi, %esi
	movl	$35, %eax			/* nanosleep */
	syscall
2:
	movq	$0, (%rbx)
	xorl	%eax, %eax
3:
	addq	$16, %rsp
	popq	%rbx
	ret
	.long	UP_RSEQ_SIGNATURE
up_arch_rseq_probed:
	/* rcx must lead back to where the call would have. */
	leaq	2b(%rip), %rax
	cmpq	%rax, %rcx
	sete	%al
	movzbl	%al, %eax
	jmp	3b
ENDFUNC up_arch_rseq_probe

	.section .note.GNU-stack, "", @progbits
