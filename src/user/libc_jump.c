/* SPDX-License-Identifier: MIT */
/*
 * longjmp() out of a signal handler: the handler's mask is given up first. The jump itself is libc's.
 */
#include "user/libc.h"

/* What _FORTIFY_SOURCE makes of all of them; in no header. */
UP_EXPORT void __longjmp_chk(sigjmp_buf env, int value) __attribute__((noreturn));

/* A setjmp that saved no mask has a buffer that says so: one function does for all names. */
UP_EXPORT void siglongjmp(sigjmp_buf env, int value)
{
	up_libc_jump(env);
	up_libc()->siglongjmp(env, value);
	__builtin_unreachable();
}

UP_EXPORT void longjmp(jmp_buf env, int value)
{
	siglongjmp(env, value);
}

UP_EXPORT void _longjmp(jmp_buf env, int value)
{
	siglongjmp(env, value);
}

/* libc's checks that the jump goes outwards, by the bounds of the thread's stack: leave it to it. */
UP_EXPORT void __longjmp_chk(sigjmp_buf env, int value)
{
	static void (*next)(sigjmp_buf, int);

	up_libc_jump(env);
	if (!next)
		next = (void (*)(sigjmp_buf, int))dlsym(RTLD_NEXT, "__longjmp_chk");
	next(env, value);
	__builtin_unreachable();
}
