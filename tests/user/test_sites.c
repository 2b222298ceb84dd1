/* SPDX-License-Identifier: MIT */
/*
 * Every call site of the runtime that Linux or libc may refuse fails in turn, at its first hit, from
 * its first hit on, and from the end of the start on: the start answers with an errno, or what was asked for later does, or
 * the runtime does without. The end always comes, nothing is left of the life, and the next one is
 * whole. Each failure has a process of its own, so that one that hangs or dies is named, and the
 * rest still run.
 *
 * Arguments: `--quick` for fewer ways to fail, a library with thread-local storage to load, and what the names of sites must contain.
 * `--list` names what is wrapped and what is not, for check_sites.py.
 */
#include "rt.h"
#include "sites_libc.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "base/inject.h"
#include "user/tls.h"

#define PATIENCE_NS (20000 * MS)

static const char *library;
static int quick;  /* only the ways to fail that need no others */
static int strict; /* nothing was let fail: nothing may be refused */

/* ---- a life ---- */

static int refused(long r)
{
	CHECK(r > -4096);
	CHECK(!strict || r >= 0);
	return r < 0;
}

static void *yields(void *arg)
{
	upcall_yield();
	refused(announced_sleep_ns(200000));
	upcall_yield();
	return arg;
}

static void *naps(void *arg)
{
	nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	return arg;
}

static void *spins(void *arg)
{
	volatile char deep[65536];

	deep[0] = deep[sizeof(deep) - 1] = 1;
	rt_spin_ns(2 * MS);
	return arg;
}

/* A clock, and a file past the cache: what is refused is waited for in another way. */
static void *reads(void *arg)
{
	struct itimerspec in = { .it_value = { 0, 300000 } };
	int clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), file;
	static _Alignas(4096) char buf[4096];
	uint64_t rung;

	CHECK(clock >= 0);
	CHECK_INT(timerfd_settime(clock, 0, &in, NULL), 0);
	CHECK_INT(upcall_read(clock, &rung, sizeof(rung)), sizeof(rung));
	close(clock);
	file = open("/proc/self/exe", O_RDONLY | O_DIRECT);
	if (file < 0)
		return arg;
	CHECK_INT(upcall_pread(file, buf, sizeof(buf), 0), sizeof(buf));
	close(file);
	return arg;
}

static void counts(void *arg)
{
	++*(unsigned *)arg;
}

/* More than a first array holds; there is time for others to take some. */
static void *divides(void *arg)
{
	struct upcall_fork f[100];
	unsigned counted[100] = { 0 };
	int i;

	for (i = 0; i < 100; i++)
		CHECK_INT(upcall_spawn(&f[i], counts, &counted[i]), 0);
	rt_spin_ns(MS);
	while (i--) {
		CHECK_INT(upcall_sync(&f[i]), 0);
		CHECK_INT(counted[i], 1);
	}
	return arg;
}

static void *forks(void *arg)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	refused(pid < 0 ? -errno : 0);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return arg;
}

static void *loads(void *arg)
{
	void *lib = dlopen(library, RTLD_NOW);
	long *(*words)(void) = lib ? dlsym(lib, "tls_lib_words") : NULL;

	CHECK(words || !strict);
	CHECK(!words || words()[0] == 55);
	if (lib)
		dlclose(lib);
	return arg;
}

static void *plain(void *arg)
{
	return arg;
}

static void *threads(void *arg)
{
	pthread_t t;
	int r = pthread_create(&t, NULL, plain, NULL);

	if (!refused(-r))
		CHECK_INT(pthread_join(t, NULL), 0);
	return arg;
}

static void *signals(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK_INT(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	kill(getpid(), SIGUSR2);
	CHECK_INT(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	return arg;
}

static void heard(unsigned vcore, const struct upcall_event *ev, void *arg)
{
}

static void *notifies(void *arg)
{
	unsigned nr;

	if (refused(upcall_event_alloc(&nr)))
		return arg;
	CHECK_INT(upcall_event_handle(nr, heard, NULL), 0);
	refused(upcall_notify(nr, -1, 1, 2));
	return arg;
}

/* Slices end, whatever was refused to what ends them. */
static void turns(void)
{
	struct upcall_uthread *waits, *has;

	rt_turn_came = 0;
	if (refused(upcall_uthread_create(&waits, NULL, rt_waits_for_turn, NULL)))
		return;
	if (refused(upcall_uthread_create(&has, NULL, rt_has_turn, NULL)))
		rt_turn_came = 1;
	else
		rt_join(has);
	rt_join(waits);
}

/*
 * A few times as many as the vcores, so that each kind comes upon the others. The latter ones take
 * locks of libc's, by which uthreads that share TLS cannot be told apart (docs/libc.md).
 */
static void in_between(void)
{
	static void *(*const kinds[])(void *) = { yields,  naps,  spins, notifies, yields, reads,
						  divides, forks, loads, threads,  signals };
	const unsigned nr = up_tls_shared() ? 7 : sizeof(kinds) / sizeof(kinds[0]);
	struct upcall_uthread *u[sizeof(kinds) / sizeof(kinds[0])];
	unsigned i, made = 0;

	for (i = 0; i < nr; i++)
		made += !refused(upcall_uthread_create(&u[made], NULL, kinds[i], &strict));
	if (!refused(upcall_request(1, 0)))
		AWAIT(upcall_nr_vcores() <= 1, upcall_yield());
	turns();
	refused(upcall_request(2, 0));
	for (i = 0; i < made; i++)
		CHECK(rt_join(u[i]) == &strict);
	refused(upcall_request(0, 0));
	refused(upcall_request(2, 0));
}

/* 0 when it started. Of kind 0 the slices are longer than Linux' tick, of kind 1 shorter. */
static int life(int kind)
{
	struct upcall_opts o = { .size = sizeof(o), .vcores = 2 };
	int r;

	o.slice_ns = kind ? MS / 2 : 8 * MS;
	r = upcall_start(&o);
	if (refused(r))
		return r;
	atomic_store(&sites->middle, 1);
	in_between();
	rt_stop();
	atomic_store(&sites->middle, 0);
	return 0;
}

/* ---- what it leaves ---- */

struct left {
	unsigned fds;
	struct sigaction action[65];
	sigset_t mask;
};

static struct left look(void)
{
	struct left l = { .fds = entries("/proc/self/fd") };
	int sig;

	for (sig = 1; sig < 65; sig++)
		sigaction(sig, NULL, &l.action[sig]);
	sigprocmask(SIG_SETMASK, NULL, &l.mask);
	return l;
}

static void check_left(const struct left *was, int check_actions)
{
	uint64_t end = apart_now_ns() + 5000 * MS;
	struct left is;
	int sig;

	while (entries("/proc/self/task") > 3 && apart_now_ns() < end)
		sched_yield();
	CHECK_INT(entries("/proc/self/task"), 3); /* with . and .. */
	is = look();
	CHECK_INT(is.fds, was->fds);
	CHECK(waitpid(-1, NULL, __WALL | WNOHANG) < 0 && errno == ECHILD);
	CHECK_INT(atomic_load(&sites->bad_closes), 0);
	for (sig = 1; sig < 65 && check_actions; sig++)
		if (is.action[sig].sa_handler != was->action[sig].sa_handler) {
			dprintf(2, "the action of signal %d is %p, and was %p\n", sig,
				(void *)is.action[sig].sa_handler,
				(void *)was->action[sig].sa_handler);
			_exit(1);
		}
	CHECK(!memcmp(&is.mask, &was->mask, 8));
}

/* Each block of memory that is held, by the site that took it. */
static void check_memory(void)
{
	unsigned i;

	for (i = 0; i < KEPT_MAX; i++) {
		unsigned n, at;

		/* Of the test's own there is no site. */
		for (at = 0; at < SITES_MAX; at++)
			if (atomic_load(&sites->at[at].pc) == kept[i].pc)
				break;
		if (!atomic_load(&kept[i].at) || at == SITES_MAX)
			continue;
		n = site_holds(kept[i].pc);
		if (n <= sites->usual[at])
			continue;
		dprintf(2, "leak: %u blocks, not %u, of %#lx\n", n, sites->usual[at], kept[i].pc);
		_exit(1);
	}
}

/* ---- in a process of its own ---- */

static void whole_life(int kind)
{
	atomic_store(&sites->fail, 0);
	atomic_store(&sites->armed, 1 + kind);
	strict = 1;
	CHECK_INT(life(kind), 0);
	strict = 0;
	atomic_store(&sites->armed, 0);
}

/* Which sites there are, and what clean lives leave. */
static int collect(void)
{
	struct left was = look();
	unsigned i;

	for (i = 0; i < 6; i++)
		whole_life((int)i % 2);
	check_left(&was, 1);
	for (i = 0; i < SITES_MAX; i++)
		sites->usual[i] = site_holds(atomic_load(&sites->at[i].pc));
	CHECK_INT(atomic_load(&sites->unknown), 0);
	return 0;
}

/* What is not there when it is looked for first is not looked for again. */
static const char *const lasting[] = { "dlsym", "dladdr1", "pthread_key_create" };

/* Is it a call of such a name that fails, or the one that must fail along with it, since this one was
 * met only then? */
static bool is_about(const struct site *s, const char *name)
{
	unsigned i;

	if (strstr(atomic_load(&s->call)->name, name))
		return true;
	for (i = 0; s->by && i < SITES_MAX; i++)
		if (atomic_load(&sites->at[i].pc) == s->by)
			return strstr(atomic_load(&sites->at[i].call)->name, name);
	return false;
}

static int fails(const struct site *s, int mode)
{
	int kind = atomic_load(&s->kind), r;
	struct left was = look();
	bool lasts = false;
	unsigned i;

	atomic_store(&sites->seen, 0);
	atomic_store(&sites->mode, mode);
	atomic_store(&sites->fail, atomic_load(&s->pc));
	sites->along = s->by;
	atomic_store(&sites->armed, 1 + kind);
	r = life(kind);
	atomic_store(&sites->armed, 0);
	sites->along = 0;
	if (is_about(s, "wait4"))
		waitpid(-1, NULL, __WALL); /* what was kept from it is ours to do */
	/* One that was refused to be put back is not back. */
	check_left(&was, r || !is_about(s, "sigaction"));
	whole_life(kind);
	for (i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++)
		lasts |= is_about(s, lasting[i]);
	CHECK(!up_tls_shared() || lasts);
	check_left(&was, !is_about(s, "sigaction"));
	check_memory();
	return 0;
}

/* ---- one after the other ---- */

struct outcome {
	int status; /* as of waitpid(); -1: it hung */
	char text[16384];
};

static void await_child(pid_t pid, struct outcome *o)
{
	uint64_t end = apart_now_ns() + PATIENCE_NS;
	int asked = 0;

	while (waitpid(pid, &o->status, WNOHANG) != pid) {
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
		if (apart_now_ns() < end)
			continue;
		kill(pid, asked++ ? SIGKILL : SIGUSR1);
		end = apart_now_ns() + 1000 * MS;
	}
	o->status = asked ? -1 : o->status;
}

static void run(const struct site *s, int mode, struct outcome *o)
{
	int fd = memfd_create("stderr", MFD_CLOEXEC);
	ssize_t n;
	pid_t pid;

	atomic_store(&sites->bad_closes, 0);
	pid = fork();
	if (!pid) {
		dup2(fd, 2);
		close(fd);
		apart_dump_on();
		signal(SIGUSR2, SIG_IGN);
		_exit(s ? fails(s, mode) : collect());
	}
	if (fd < 0 || pid < 0)
		tap_bail("no process: %s", strerror(errno));
	await_child(pid, o);
	n = pread(fd, o->text, sizeof(o->text) - 1, 0);
	o->text[n > 0 ? n : 0] = 0;
	close(fd);
}

/* "function at file:line", of the line that is ours: not base/syscall.h's. */
static void name_site(uintptr_t pc, char *ret, size_t sz)
{
	extern const char __executable_start[];
	char line[512];
	FILE *p;

	snprintf(line, sizeof(line), "addr2line -ifpse /proc/%d/exe %#lx 2>&1", (int)getpid(),
		 pc - 1 - (uintptr_t)__executable_start);
	snprintf(ret, sz, "%#lx", pc - (uintptr_t)__executable_start);
	p = popen(line, "r");
	while (p && fgets(line, sizeof(line), p)) {
		char *at = strstr(line, "(inlined by) ");

		line[strcspn(line, "\n")] = 0;
		if (strstr(line, " syscall.h:") || strstr(line, " futex.h:"))
			continue;
		snprintf(ret, sz, "%.200s", at ? at + 13 : line);
		break;
	}
	if (p)
		pclose(p);
}

static void show(const struct outcome *o)
{
	char *line, *save, copy[sizeof(o->text)];

	strcpy(copy, o->text);
	if (o->status == -1)
		tap_note("it hung");
	else
		tap_note("status %#x", o->status);
	for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *at = strstr(line, " of 0x"), where[256] = "";

		if (at && !strncmp(line, "leak:", 5))
			name_site(strtoul(at + 4, NULL, 16), where, sizeof(where));
		tap_note("%s %s", line, where);
	}
}

static const char *how_often(const struct call *c, int mode)
{
	if (mode == SITE_ONCE)
		return "once";
	if (!c->always)
		return mode == SITE_ALWAYS ? "every other time"
					   : "every other time after the start";
	return mode == SITE_ALWAYS ? "always" : "always after the start";
}

/* Not every life comes by every site: some depend on who meets whom. */
static void point(const struct site *s, int mode, const char *where)
{
	const struct call *c = atomic_load(&s->call);
	int err = mode == SITE_ONCE || !c->always ? c->once : c->always;
	static struct outcome o;
	char name[512];
	int i;

	snprintf(name, sizeof(name), "%s in %s: %s %s", c->name, where, strerrorname_np(err),
		 how_often(c, mode));
	for (i = 0; i < (mode == SITE_LATER ? 1 : 3); i++) {
		run(s, mode, &o);
		if (o.status || atomic_load(&sites->seen))
			break;
	}
	if (!o.status && !atomic_load(&sites->seen))
		tap_skip(name, "no life came by here again");
	else if (!tap_ok(!o.status, "%s", name))
		show(&o);
}

static int list(void)
{
	unsigned i;

	for (i = 0; i < sizeof(not_wrapped) / sizeof(not_wrapped[0]); i++)
		printf("%s\n", not_wrapped[i].names);
	return 0;
}

/* All the ways of one site to fail, unless its name is not asked for. */
static void each_way(const struct site *s, const char *wanted)
{
	int later = atomic_load(&s->later);
	char where[256];

	name_site(atomic_load(&s->pc), where, sizeof(where));
	if (wanted && !strstr(where, wanted))
		return;
	point(s, SITE_ONCE, where);
	if (!quick)
		point(s, SITE_ALWAYS, where);
	if (later && (!quick || atomic_load(&s->call)->always == ENOMEM))
		point(s, SITE_LATER, where);
}

/* Failures lead to sites that no clean life comes by: until there is none any more. */
static void each_site(const char *wanted)
{
	static char done[SITES_MAX];
	unsigned i, nr, total = 0;

	do
		for (i = nr = 0; i < SITES_MAX; i++) {
			if (done[i] || !atomic_load(&sites->at[i].call))
				continue;
			done[i] = 1;
			nr++;
			each_way(&sites->at[i], wanted);
		}
	while ((total += nr, nr));
	tap_note("%u sites", total);
}

int main(int argc, char **argv)
{
	static struct outcome o;

	if (argc > 1 && !strcmp(argv[1], "--list"))
		return list();
	quick = argc > 1 && !strcmp(argv[1], "--quick");
	argc -= quick;
	argv += quick;
	library = argv[1];
	sites = mmap(NULL, sizeof(*sites), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (sites == MAP_FAILED)
		tap_bail("no memory");
	up_inject_set_syscall_hook(ask_raw);
	run(NULL, 0, &o);
	if (!tap_ok(!o.status, "lives in which nothing fails"))
		show(&o);
	each_site(argc > 2 ? argv[2] : NULL);
	tap_plan(tap_made);
	return tap_done();
}
