/* SPDX-License-Identifier: MIT */
/*
 * Faults: reflected to a handler that mends them, left to the program's own handler, deadly in
 * vcore context.
 */
#include "rt.h"

#include <setjmp.h>
#include <sys/mman.h>

#define PAGES 64

static volatile uintptr_t nowhere;
static char *pages;
static atomic_uint mended;

static void mend(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	CHECK_INT(ev->nr, UPCALL_EV_FAULT);
	CHECK_INT(ev->aux, SIGSEGV);
	CHECK(ev->val >= (uintptr_t)pages && ev->val < (uintptr_t)pages + PAGES * 4096);
	CHECK(arg == &mended);
	CHECK(!upcall_uthread_self());
	CHECK_INT(mprotect((void *)(ev->val & ~4095ull), 4096, PROT_READ | PROT_WRITE), 0);
	atomic_fetch_add(&mended, 1);
}

static void *touch(void *arg)
{
	double kept = (double)(uintptr_t)arg + 0.5;
	unsigned i;

	for (i = (unsigned)(uintptr_t)arg; i < PAGES; i += 4) {
		pages[i * 4096ul] = (char)(i + 1);
		CHECK_INT(pages[i * 4096ul], (char)(i + 1));
	}
	CHECK(kept == (double)(uintptr_t)arg + 0.5); /* registers are what they were */
	return NULL;
}

static int handler_mends(unsigned vcores)
{
	struct upcall_uthread *u[4];
	uintptr_t i;

	pages = mmap(NULL, PAGES * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pages != MAP_FAILED);
	rt_start(vcores);
	CHECK_INT(upcall_event_handle(UPCALL_EV_FAULT, mend, &mended), 0);
	for (i = 0; i < 4; i++)
		u[i] = rt_make(touch, (void *)i);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	CHECK_INT(atomic_load(&mended), PAGES);
	rt_stop();
	return 0;
}

static int handler_mends_1(void)
{
	return handler_mends(1);
}

static int handler_mends_2(void)
{
	return handler_mends(2);
}

static atomic_uintptr_t own_saw;

static void own_handler(int sig, siginfo_t *si, void *ucv)
{
	atomic_store(&own_saw, (uintptr_t)si->si_addr);
	CHECK_INT(mprotect(pages, 4096, PROT_READ | PROT_WRITE), 0);
}

/* Without a handler of events the program's own one, set before the start, runs. */
static int own_handler_runs(void)
{
	struct sigaction sa = { .sa_sigaction = own_handler, .sa_flags = SA_SIGINFO };

	pages = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pages != MAP_FAILED);
	CHECK_INT(sigaction(SIGSEGV, &sa, NULL), 0);
	rt_start(1);
	pages[8] = 1;
	CHECK_INT(atomic_load(&own_saw), (uintptr_t)pages + 8);
	rt_stop();
	return 0;
}

static void wild_handler(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	*(volatile char *)(nowhere + 24) = 1;
}

static int vcore_context_kills(void)
{
	unsigned nr;

	rt_start(1);
	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK_INT(upcall_event_handle(nr, wild_handler, NULL), 0);
	CHECK_INT(upcall_notify(nr, -1, 0, 0), 0);
	AWAIT(0, upcall_yield());
	return 0;
}

/* Even where faults of uthreads are mended. */
static int vcore_context_kills_mender(void)
{
	rt_start(1);
	CHECK_INT(upcall_event_handle(UPCALL_EV_FAULT, wild_handler, NULL), 0);
	*(volatile char *)(nowhere + 32) = 1;
	return 0;
}

static volatile int zero;

static int divides(void)
{
	rt_start(1);
	return 100 / zero;
}

static const struct apart cases[] = {
	CASE("a handler mends the fault and the uthread goes on, 1 vcore", handler_mends_1),
	CASE("a handler mends the fault and the uthread goes on, 2 vcores", handler_mends_2),
	CASE("the program's own handler runs where there is no other", own_handler_runs),
	CASE_DIES("a fault in vcore context kills, with a report", vcore_context_kills, SIGSEGV,
		  "fault in vcore context: signal 11 at address 0x18"),
	CASE_DIES("a fault of the handler that mends faults kills, with a report",
		  vcore_context_kills_mender, SIGSEGV, "fault in vcore context"),
	CASE_DIES("an unhandled fault of a uthread kills as it would without us", divides, SIGFPE,
		  ""),
};

APART_MAIN(cases)
