/* SPDX-License-Identifier: MIT */
/*
 * The page of `upcall run` from the program's side, with this test in the command's place: who claims
 * it, what lies in it at any moment, what is refused, and that no child comes near it.
 */
#include "announced.h"
#include "rt.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "abi/run.h"
#include "base/atomic.h"

#define VCORES 64u
#define ACTS   8192u

static struct upabi_run *page;
static int page_fd;

/* As the command makes it. */
static int make_page(bool sealed, uint32_t ring_len)
{
	uint64_t sz = upabi_run_size(0, VCORES, ACTS, ring_len);

	page_fd = memfd_create("upcall-run", MFD_ALLOW_SEALING);
	CHECK(page_fd >= 0);
	CHECK_INT(ftruncate(page_fd, (off_t)sz), 0);
	page = mmap(NULL, sz, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
	CHECK(page != MAP_FAILED);
	*page = (struct upabi_run){ .magic = UPABI_RUN_MAGIC,
				    .version = UPABI_RUN_VERSION,
				    .header_sz = sizeof(*page),
				    .size = sz,
				    .max_vcores = VCORES,
				    .max_acts = ACTS,
				    .ring_len = ring_len,
				    .off_cpus = sizeof(*page),
				    .off_vcores = (uint32_t)upabi_run_off_vcores(0),
				    .off_acts = (uint32_t)upabi_run_off_acts(0, VCORES),
				    .off_counts = (uint32_t)upabi_run_off_counts(0, VCORES, ACTS),
				    .off_rings = (uint32_t)upabi_run_off_rings(0, VCORES, ACTS) };
	if (sealed)
		CHECK_INT(fcntl(page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	return page_fd;
}

static void announce(int fd)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", fd);
	setenv(UPABI_RUN_ENV, text, 1);
}

static struct upabi_run_vcore *line(uint32_t v)
{
	return (struct upabi_run_vcore *)((char *)page + page->off_vcores) + v;
}

static uint64_t sum_switches(void)
{
	uint64_t sum = 0;

	for (uint32_t v = 0; v < VCORES; v++)
		sum += line(v)->stats.switches;
	return sum;
}

static void sum_counts(uint64_t *ret_made, uint64_t *ret_freed)
{
	const struct upabi_run_count *c = (const void *)((char *)page + page->off_counts);

	*ret_made = *ret_freed = 0;
	for (uint32_t i = 0; i <= ACTS; i++) {
		*ret_made += c[i].made;
		*ret_freed += c[i].freed;
	}
}

static struct upabi_act_stats sum_acts(void)
{
	const struct upabi_act_stats *a = (const void *)((char *)page + page->off_acts);
	struct upabi_act_stats sum = { 0 };

	for (uint32_t i = 0; i < ACTS; i++) {
		sum.notified += a[i].notified;
		for (unsigned c = 0; c < UPABI_CLASSES; c++) {
			sum.blocked[c] += a[i].blocked[c];
			sum.unblocked[c] += a[i].unblocked[c];
		}
	}
	return sum;
}

static bool leads_to_page(int fd)
{
	char path[32], to[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, to, sizeof(to) - 1) > 0 && strstr(to, "upcall-run");
}

static void *work(void *arg)
{
	for (int i = 0; i < 20; i++)
		upcall_yield();
	announced_sleep_ns(200000);
	return arg;
}

static void work_some(unsigned nr)
{
	struct upcall_uthread *u[64];

	for (unsigned i = 0; i < nr; i++)
		CHECK_INT(upcall_uthread_create(&u[i], NULL, work, NULL), 0);
	for (unsigned i = 0; i < nr; i++)
		CHECK_INT(upcall_uthread_join(u[i], NULL), 0);
}

/* What the page says at any moment is what upcall_get_stats() says. */
static int case_counts(void)
{
	struct upcall_stats st = { .size = sizeof(st) };
	struct upabi_act_stats acts;
	uint64_t made, freed;
	int fd = make_page(true, 0);

	announce(fd);
	rt_start(1);
	CHECK_INT(page->owner, getpid());
	CHECK_INT(page->state, UPABI_RUN_STARTED);
	CHECK_INT(page->target, 1);
	CHECK(!strcmp(page->sched, "fifo") || page->sched[0]);
	CHECK(!getenv(UPABI_RUN_ENV));
	CHECK(!leads_to_page(fd)); /* closed; another may have the number by now */
	work_some(50);
	sum_counts(&made, &freed);
	CHECK_INT(made, 51);
	CHECK_INT(made - freed, 1);
	CHECK_INT(upcall_get_stats(&st), 0);
	CHECK_INT(st.uthreads_made, 51);
	/* We run: nobody else switches here. */
	CHECK_INT(sum_switches(), st.switches);
	CHECK(st.switches > 1000);
	acts = sum_acts();
	CHECK_INT(acts.blocked[0], st.blocked[0]);
	CHECK_INT(acts.unblocked[0], st.unblocked[0]);
	CHECK_INT(acts.notified, st.notified);
	CHECK(page->acts_peak >= st.activations);
	CHECK(line(0)->since_ns || line(0)->total_ns);
	CHECK_INT(upcall_stop(), 0);
	CHECK_INT(page->state, UPABI_RUN_STOPPED);
	CHECK(page->stop_ns > page->start_ns);
	CHECK_INT(line(0)->since_ns, 0); /* nothing is online any more */
	CHECK(line(0)->total_ns > 0 &&
	      line(0)->total_ns <= page->stop_ns - page->start_ns + 10 * MS);
	return 0;
}

/* A second life of the same process counts from zero. */
static int case_again(void)
{
	struct upcall_stats st = { .size = sizeof(st) };
	uint64_t made, freed;

	announce(make_page(true, 0));
	rt_start(1);
	work_some(20);
	CHECK_INT(upcall_stop(), 0);
	rt_start(1);
	CHECK_INT(page->state, UPABI_RUN_STARTED);
	work_some(3);
	sum_counts(&made, &freed);
	CHECK_INT(made, 4);
	CHECK_INT(upcall_get_stats(&st), 0);
	CHECK_INT(sum_switches(), st.switches);
	CHECK_INT(upcall_stop(), 0);
	return 0;
}

/* Online is what the vcore is, and not what it was: idle it has given its core back. */
static int case_online(void)
{
	struct timespec nap = { 0, 100000000 };
	struct upcall_vcore_stats vs = { .size = sizeof(vs) };
	uint64_t total;

	announce(make_page(true, 0));
	rt_start(1);
	CHECK(line(0)->since_ns);
	CHECK_INT(nanosleep(&nap, NULL), 0);
	total = line(0)->total_ns;
	CHECK(total && total < 60 * MS); /* not what was slept through */
	CHECK(line(0)->stretches >= 2);
	CHECK_INT(upcall_get_vcore_stats(0, &vs), 0);
	CHECK(vs.online_ns >= total && vs.online_ns < total + 60 * MS);
	CHECK_INT(line(0)->pcore, vs.cpu);
	return upcall_stop();
}

/* ---- others ---- */

static int wait_for(pid_t pid)
{
	int status;

	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool maps_page(void)
{
	char buf[512];
	FILE *f = fopen("/proc/self/maps", "re");
	bool found = false;

	while (f && !found && fgets(buf, sizeof(buf), f))
		found = strstr(buf, "memfd:upcall-run") != NULL;
	if (f)
		fclose(f);
	return found;
}

/* The test's own mapping would hide the program's. */
static void forget_own(void)
{
	CHECK_INT(munmap(page, page->size), 0);
}

/* A child of the program's by fork(): no memory, no variable, and a runtime of its own counts nowhere. */
static int case_fork(void)
{
	int look = make_page(true, 0), keep = fcntl(look, F_DUPFD_CLOEXEC, 200);
	uint64_t before, sz = page->size;
	pid_t pid;

	announce(look);
	forget_own();
	rt_start(1);
	work_some(5);
	pid = fork();
	if (!pid) {
		bool good = !maps_page() && !getenv(UPABI_RUN_ENV);

		good = good && upcall_start(NULL) == 0;
		if (good)
			work_some(10);
		_exit(good && upcall_stop() == 0 ? 0 : 1);
	}
	CHECK(pid > 0);
	CHECK_INT(wait_for(pid), 0);
	page = mmap(NULL, sz, PROT_READ | PROT_WRITE, MAP_SHARED, keep, 0);
	CHECK(page != MAP_FAILED);
	CHECK_INT(page->owner, getpid());
	CHECK_INT(page->refused, 0);
	before = sum_switches();
	CHECK(before > 0);
	CHECK_INT(upcall_stop(), 0);
	return 0;
}

/* Two processes that were both given it: the first that starts has it, and the other leaves it alone. */
static int case_two(void)
{
	uint64_t made, freed;
	pid_t pid;

	announce(make_page(true, 0));
	pid = fork();
	if (!pid) {
		rt_start(1);
		work_some(7);
		_exit(upcall_stop() ? 1 : 0);
	}
	CHECK(pid > 0);
	CHECK_INT(wait_for(pid), 0);
	CHECK_INT(page->owner, pid);
	rt_start(1);
	work_some(30);
	CHECK_INT(upcall_stop(), 0);
	CHECK_INT(page->owner, pid);
	CHECK_INT(page->refused, 1);
	sum_counts(&made, &freed);
	CHECK_INT(made, 8);
	CHECK(!getenv(UPABI_RUN_ENV));
	return 0;
}

/* What a program is handed may be anything: it starts, and leaves alone what is not the page. */
static int case_nonsense(void)
{
	static const char *const texts[] = { "", "x", "-1", "99999", "4294967296", "1e3", " 3" };
	char name[] = "/tmp/test-publish-XXXXXX";
	struct upabi_run *p;
	int fd;

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		setenv(UPABI_RUN_ENV, texts[i], 1);
		rt_start(1);
		CHECK_INT(upcall_stop(), 0);
	}
	fd = mkstemp(name); /* somebody else's file */
	CHECK(fd >= 0);
	unlink(name);
	announce(fd);
	rt_start(1);
	CHECK_INT(upcall_stop(), 0);
	CHECK(fcntl(fd, F_GETFD) >= 0);
	announce(make_page(false, 0)); /* might shrink under us */
	rt_start(1);
	CHECK_INT(upcall_stop(), 0);
	CHECK_INT(page->owner, 0);
	for (unsigned i = 0; i < 12; i++) {
		announce(make_page(true, 0));
		p = page;
		switch (i) {
		case 0:
			p->magic++;
			break;
		case 1:
			p->version++;
			break;
		case 2:
			p->header_sz--;
			break;
		case 3:
			p->size += 4096;
			break;
		case 4:
			p->max_vcores = UINT32_MAX;
			break;
		case 5:
			p->max_acts = UINT32_MAX;
			break;
		case 6:
			p->ring_len = 3;
			break;
		case 7:
			p->cpus_sz = 1u << 30;
			break;
		case 8:
			p->off_vcores -= 64;
			break;
		case 9:
			p->off_acts = UINT32_MAX;
			break;
		case 10:
			p->off_counts += 4096;
			break;
		default:
			p->off_rings = 0;
		}
		rt_start(1);
		CHECK_INT(upcall_stop(), 0);
		CHECK_INT(p->owner, 0);
		close(page_fd);
	}
	return 0;
}

/* More vcores or activations than there are lines for: what does not fit is counted in private. */
static int case_too_small(void)
{
	struct upcall_stats st = { .size = sizeof(st) };

	announce(make_page(true, 0));
	rt_start_opts((struct upcall_opts){ .vcores = 1, .max_acts = 2 * ACTS });
	work_some(10);
	CHECK_INT(page->acts_unseen, 1);
	CHECK_INT(upcall_get_stats(&st), 0);
	CHECK_INT(st.uthreads_made, 11);
	CHECK_INT(sum_switches(), st.switches);
	CHECK_INT(upcall_stop(), 0);
	return 0;
}

/* A start that fails says so, and one that succeeds afterwards takes its place. */
static int case_failed_start(void)
{
	struct rlimit few = { 8, 8 }, old;

	announce(make_page(true, 0));
	CHECK_INT(getrlimit(RLIMIT_NOFILE, &old), 0);
	few.rlim_max = old.rlim_max;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (int fd = 3; fd < 8; fd++)
		dup(2);
	if (upcall_start(NULL) == 0)
		SKIP("the runtime starts without a descriptor to spare");
	CHECK(page->start_error != 0);
	CHECK_INT(page->state, UPABI_RUN_STOPPED);
	return 0;
}

/* ---- a trace ---- */

static int case_trace(void)
{
	const struct upabi_trace_rec *r;
	uint64_t seen[UPABI_TR_NR] = { 0 }, last = 0, switches = 0;

	announce(make_page(true, 1u << 14));
	rt_start(1);
	work_some(10);
	/* On a busy CPU a short sleep is over before anybody looks. */
	AWAIT(sum_acts().blocked[0], announced_sleep_ns(MS));
	switches = sum_switches();
	CHECK_INT(upcall_stop(), 0);
	CHECK_INT(line(0)->lost, 0);
	CHECK(line(0)->head > 0);
	for (uint64_t i = 0; i < line(0)->head; i++) {
		r = (const struct upabi_trace_rec *)((char *)page + page->off_rings) + i;
		CHECK(r->type > 0 && r->type < UPABI_TR_NR);
		CHECK(r->type == UPABI_TR_NAME || r->time_ns >= last);
		last = r->time_ns;
		seen[r->type]++;
	}
	/* Every switch but what came after the look; sleeps that were seen as blocks; and what was begun
	 * is ended. */
	CHECK(seen[UPABI_TR_RUN] >= switches && switches > 200);
	CHECK(seen[UPABI_TR_ONLINE] >= 1);
	CHECK_INT(seen[UPABI_TR_ONLINE], seen[UPABI_TR_OFFLINE]);
	CHECK(seen[UPABI_TR_BLOCKED] > 0);
	CHECK_INT(seen[UPABI_TR_BLOCKED], sum_acts().blocked[0] + sum_acts().blocked[1] +
						  sum_acts().blocked[2] + sum_acts().blocked[3]);
	CHECK_INT(seen[UPABI_TR_BLOCKED], seen[UPABI_TR_UNBLOCKED]);
	CHECK_INT(seen[UPABI_TR_NAME], 1); /* main */
	return 0;
}

static const struct apart cases[] = {
	CASE("the page says what upcall_get_stats() says", case_counts),
	CASE("a second start counts from zero", case_again),
	CASE("time online stands still while a vcore is offline", case_online),
	CASE("a child by fork has nothing of the page", case_fork),
	CASE("of two processes the first that starts has it", case_two),
	CASE("nonsense is left alone", case_nonsense),
	CASE("what does not fit is counted in private", case_too_small),
	CASE("a start that fails says why", case_failed_start),
	CASE("a trace holds every switch, block and stretch online", case_trace),
};

APART_MAIN(cases)
