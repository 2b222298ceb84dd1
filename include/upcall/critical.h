/* SPDX-License-Identifier: MIT */
/*
 * Critical sections: stretches in which a uthread that is preempted goes on to the section's end
 * first, and gives way there (Anderson et al., SOSP 1991, 3.3).  They nest.  They exclude nobody:
 * they keep the holder of a short lock from being put aside while others wait for it.
 *
 * Marked by a flag, as here: two instructions a section.  Or at no cost, as a range of program
 * counters with a second copy of the code that leads to a way out: UPCALL_CS_ASM() below, for
 * sections written in assembly.
 */
#ifndef UPCALL_CRITICAL_H
#define UPCALL_CRITICAL_H

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Begins a section, or one within it.  A core that is to go waits for the end of the section, for about
 * a millisecond; then it is taken, and the holder goes on before anybody else on the next that there
 * is.  A yield or a block in between ends all sections.  Context: any; elsewhere than on a uthread it
 * does nothing; does not block.  Errors: none. */
void upcall_critical_enter(void);

/* Ends the innermost section; the end of the outermost gives way to who was to run meanwhile.  Without
 * an enter it does nothing.  Context: any; elsewhere than on a uthread it does nothing; does not block
 * but for giving way.  Errors: none. */
void upcall_critical_leave(void);

/* The way out of the second copies.  Context: none, it is not to be called; does not block.  Errors:
 * none. */
void upcall_critical_way_out(void);

#if defined(__x86_64__) && defined(__GNUC__)
/*
 * `body` is assembly text with operands as in an asm statement.  It is laid out twice: once in
 * place, and once out of line, followed by the way out.  A uthread that is preempted in the first
 * goes on in the second, at the same instruction; its end gives way and comes back here.  The text
 * must be the same bytes wherever it stands: no jump out of it, no %rip-relative operand, no
 * label but numeric ones, and the stack pointer and the red zone left alone.
 */
#define UPCALL_CS_ASM(body, ...)                                                    \
	__asm__ __volatile__("991:\n\t" body "\n"                                   \
			     "992:\n\t"                                             \
			     ".pushsection .text.upcall_cs, \"ax\", @progbits\n"    \
			     "993:\n\t" body "\n\t"                                 \
			     "leaq -128(%%rsp), %%rsp\n\t"                          \
			     "call upcall_critical_way_out@PLT\n\t"                 \
			     "leaq 128(%%rsp), %%rsp\n\t"                           \
			     "jmp 992b\n\t"                                         \
			     ".popsection\n\t"                                      \
			     ".pushsection upcall_cs, \"a\", @progbits\n\t"         \
			     ".balign 8\n\t"                                        \
			     ".long 991b - .\n\t"                                   \
			     ".long 992b - 991b\n\t"                                \
			     ".long 993b - .\n\t"                                   \
			     ".long 0\n\t"                                          \
			     ".popsection\n\t" __VA_ARGS__)

/* The table of one program or library: call upcall_critical_register(UPCALL_CS_TABLE) once. */
struct upcall_cs_range {
	int start;
	unsigned length;
	int copy;
	int reserved;
};
extern const struct upcall_cs_range __start_upcall_cs[] __attribute__((weak, visibility("hidden")));
extern const struct upcall_cs_range __stop_upcall_cs[] __attribute__((weak, visibility("hidden")));
#define UPCALL_CS_TABLE __start_upcall_cs, __stop_upcall_cs

/* Makes the ranges in [from, to) known; the table stays the caller's, and must stay loaded.  Context:
 * any but vcore; may block.  Errors: -EINVAL from is NULL or behind to, or a range is none; -ENOSPC 64
 * tables have been registered. */
int upcall_critical_register(const struct upcall_cs_range *from, const struct upcall_cs_range *to);
#endif

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
