/* SPDX-License-Identifier: MIT */
/*
 * Whose thread-local storage is in force: the activation's wherever the runtime or the scheduler runs,
 * the uthread's wherever that does. With the instructions that set the FS base, and by system call.
 */
#include "arch/arch.h"
#include "base/inject.h"
#include "rt.h"
#include "user/uthread.h"

#include <pthread.h>
#include <sys/mman.h>

static atomic_uint at_home, in_event, in_block, in_fault, wrong;
static unsigned number;
static char *page;

static void look(atomic_uint *seen)
{
	atomic_fetch_add(seen, 1);
	atomic_fetch_add(&wrong, up_arch_get_fs() != up_act_self_vc()->own_fs);
}

/* The activation's own stack, where it has come home from behind its vcore. */
static int on_point(unsigned nr, const char *name, void *arg)
{
	if (!strcmp(name, "rejoin_published"))
		look(&at_home);
	return 0;
}

static void hear(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	look(&in_event);
}

static void mend(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	look(&in_fault);
	CHECK_INT(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
}

static void wake(struct upcall_uthread *self, void *arg)
{
	look(&in_block);
	CHECK_INT(upcall_wake(self), 0);
}

static void *lives(void *arg)
{
	struct timespec ts = { 0, 50000 };
	pthread_t self = pthread_self();
	unsigned i;

	/* On a busy machine a short nap may be over before anybody has seen it. */
	for (i = 0; i < 50 || !atomic_load(&at_home); i++) {
		ts.tv_nsec = i < 50 ? 50000 : 5000000;
		CHECK_INT(nanosleep(&ts, NULL), 0);
		CHECK_INT(upcall_block(wake, NULL), 0);
		CHECK_INT(upcall_notify(number, -1, i, 0), 0);
		CHECK(pthread_self() == self && up_arch_get_fs() == (uintptr_t)self);
	}
	page[8] = 1;
	return NULL;
}

static atomic_int over;

static void *busy(void *arg)
{
	pthread_t self = pthread_self();

	AWAIT(atomic_load(&over), CHECK(up_arch_get_fs() == (uintptr_t)self));
	return NULL;
}

static int life(bool by_instruction)
{
	struct upcall_uthread *u[4], *b;
	unsigned i;

	CHECK(by_instruction ? !unsetenv("UPCALL_NO_FSGSBASE")
			     : !setenv("UPCALL_NO_FSGSBASE", "1", 1));
	page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	up_inject_set_hook(on_point, NULL);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .slice_ns = 1 * MS });
	if (up_arch_fsgsbase != by_instruction)
		SKIP("this processor or kernel has no instruction for it\n");
	CHECK_INT(upcall_event_handle(UPCALL_EV_FAULT, mend, NULL), 0);
	CHECK_INT(upcall_event_alloc(&number), 0);
	CHECK_INT(upcall_event_handle(number, hear, NULL), 0);
	CHECK_INT(upcall_event_route(number, -1, 1), 0);
	b = rt_make(busy, NULL);
	for (i = 0; i < 4; i++)
		u[i] = rt_make(lives, NULL);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	atomic_store(&over, 1);
	rt_join(b);
	rt_stop();
	dprintf(2, "%u home, %u events, %u blocks, %u faults, %u wrong\n", at_home, in_event,
		in_block, in_fault, wrong);
	CHECK(at_home && in_event && in_fault && in_block >= 200);
	CHECK_INT(wrong, 0);
	return 0;
}

static int by_instruction(void)
{
	return life(true);
}

static int by_call(void)
{
	return life(false);
}

static const struct apart cases[] = {
	CASE("the FS base is whose code runs, set by instruction", by_instruction),
	CASE("the FS base is whose code runs, set by system call", by_call),
};

APART_MAIN(cases)
