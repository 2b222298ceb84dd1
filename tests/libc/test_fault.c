/* SPDX-License-Identifier: MIT */
/* Handlers of faults run in the uthread that faulted, may mend it or jump out, and use its own
 * alternate stack when there is one. */
#include <setjmp.h>
#include <sys/mman.h>

#include "contract.h"

static __thread sigjmp_buf back;
static __thread volatile int hits;
static __thread char *page;
static __thread char *altstack;
static long page_sz;
static volatile int *volatile nowhere = (volatile int *)16;

static void jump_out(int sig)
{
	contract_linger();
	hits++;
	siglongjmp(back, sig);
}

static void mend(int sig, siginfo_t *info, void *uc)
{
	char here;

	if (altstack && (&here < altstack || &here >= altstack + 65536))
		return; /* faults for ever: the watch ends it */
	hits++;
	contract_linger();
	if ((char *)info->si_addr >= page && (char *)info->si_addr < page + page_sz)
		mprotect(page, (size_t)page_sz, PROT_READ | PROT_WRITE);
}

static void *jump_many(void *arg)
{
	volatile int i, got;

	for (i = 0; i < 20; i++) {
		got = sigsetjmp(back, 1);
		if (!got)
			*nowhere = 1;
		if (got != SIGSEGV)
			return (void *)1;
	}
	return (void *)(long)(hits != 20);
}

static void *mend_many(void *arg)
{
	stack_t ss = { .ss_size = 65536 }, old;
	double x = 2.5;
	int i;

	page = mmap(NULL, (size_t)page_sz, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if ((uintptr_t)arg & 1) {
		ss.ss_sp = altstack = malloc(65536);
		if (sigaltstack(&ss, NULL) || sigaltstack(NULL, &old) || old.ss_sp != altstack)
			return (void *)1;
	} else if (sigaltstack(NULL, &old) || !(old.ss_flags & SS_DISABLE)) {
		return (void *)2;
	}
	for (i = 0; i < 20; i++) {
		page[8] = (char)i;
		x = x * 2 / 2;
		if (page[8] != (char)i || x != 2.5)
			return (void *)3;
		mprotect(page, (size_t)page_sz, PROT_NONE);
	}
	ss.ss_flags = SS_DISABLE;
	sigaltstack(&ss, NULL);
	free(altstack);
	munmap(page, (size_t)page_sz);
	return (void *)(long)(hits != 20);
}

static void *divide(void *arg)
{
	volatile int zero = 0, one = 1;
	int got = sigsetjmp(back, 1);

	if (!got)
		one = one / zero;
	return (void *)(long)(got != SIGFPE);
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = jump_out }, old;

	contract_args(&argc, argv);
	page_sz = sysconf(_SC_PAGESIZE);
	contract_begin(4);
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGFPE, &act, NULL);
	sigaction(SIGSEGV, NULL, &old);
	tap_ok(old.sa_handler == jump_out, "sigaction gives back what was set");
	tap_ok(contract_run_many(4, jump_many) == 0, "siglongjmp out of a handler of SIGSEGV");
	tap_ok((long)contract_run(divide, NULL) == 0, "and of one of SIGFPE");
	act.sa_sigaction = mend;
	act.sa_flags = SA_SIGINFO | SA_ONSTACK;
	sigaction(SIGSEGV, &act, NULL);
	tap_ok(contract_run_many(4, mend_many) == 0,
	       "a fault is mended and goes on, on its own stack");
	return contract_end();
}
