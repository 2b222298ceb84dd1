/* SPDX-License-Identifier: MIT */
/*
 * upcall-sim: runs a schedule from a seed and says how many invariants broke.  The last line is
 * `violations N`, the one before it a rate in steps a second; exit 0 only when N is 0.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim.h"

#define EXIT_USAGE 64

/* splitmix64: small, and the same everywhere. */
uint64_t sim_rand(struct sim *s)
{
	uint64_t z = s->rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint32_t sim_below(struct sim *s, uint32_t n)
{
	return (uint32_t)((sim_rand(s) >> 32) * n >> 32);
}

bool sim_chance(struct sim *s, uint32_t per_cent)
{
	return sim_below(s, 100) < per_cent;
}

void sim_log(struct sim *s, const char *what, uint32_t pid, int64_t a, int64_t b, int64_t c,
	     int64_t ret)
{
	s->log[s->lines++ % SIM_LOG] =
		(struct sim_step){ s->step, s->now, what, pid, a, b, c, ret };
}

static void print_log(const struct sim *s)
{
	uint64_t from = s->lines > SIM_LOG ? s->lines - SIM_LOG : 0;

	for (uint64_t i = from; i < s->lines; i++) {
		const struct sim_step *l = &s->log[i % SIM_LOG];

		if (s->step - l->nr < SIM_STEPS)
			printf("  step %llu now %llu pid %u %s %lld %lld %lld -> %lld\n",
			       (unsigned long long)l->nr, (unsigned long long)l->now, l->pid,
			       l->what, (long long)l->a, (long long)l->b, (long long)l->c,
			       (long long)l->ret);
	}
}

void sim_fail(struct sim *s, const char *what)
{
	if (!s->violations++) {
		printf("violation at step %llu: %s\n", (unsigned long long)s->step, what);
		print_log(s);
	}
}

static void *alloc_fn(void *arg, size_t sz)
{
	((struct sim *)arg)->live++;
	return calloc(1, sz);
}

static void free_fn(void *arg, void *ptr, size_t sz)
{
	(void)sz;
	((struct sim *)arg)->live--;
	free(ptr);
}

/* One of the processes that exist; NULL when the slot is empty. */
static struct sim_proc *some_proc(struct sim *s)
{
	return &s->procs[sim_below(s, s->nr_procs)];
}

static struct sim_proc *life_step(struct sim *s)
{
	struct sim_proc *sp = some_proc(s);

	if (!sp->p) {
		sim_proc_create(s, sp);
	} else if (sim_chance(s, 4)) {
		int ret = up_kern_proc_destroy(s->k, sp->p, s->now);

		sim_log(s, "destroy", sp->pid, 0, 0, 0, ret);
	} else {
		sim_post(s, sp);
	}
	return sp;
}

static void time_step(struct sim *s)
{
	uint64_t due = up_kern_deadline(s->k);

	s->now += 1 + sim_below(s, 2000);
	if (due && sim_chance(s, 60) && due > s->now && due - s->now < 1000000000)
		s->now = due; /* exactly then */
	up_kern_tick(s->k, s->now);
	due = up_kern_deadline(s->k);
	sim_log(s, "tick", 0, (int64_t)due, 0, 0, 0);
}

static void one_step(struct sim *s)
{
	uint32_t what = sim_below(s, 100);
	struct sim_proc *sp = NULL;

	s->step++;
	if (what < 30) {
		sim_finish_one(s);
	} else if (what < 80) {
		sp = some_proc(s);
		if (sp->p)
			sim_proc_step(s, sp);
		else
			sp = life_step(s);
	} else if (what < 92) {
		time_step(s);
	} else if (what < 95) {
		sim_machine_step(s);
	} else {
		sp = life_step(s);
	}
	if (sim_chance(s, 70))
		sim_take_effects(s, 1 + sim_below(s, 8));
	if (s->step % s->check_every == 0)
		sim_verify_all(s);
	else if (sp && sp->p)
		sim_verify_proc(s, sp);
}

static void settle(struct sim *s, int rounds)
{
	while (rounds--) {
		s->now += 10000000;
		up_kern_tick(s->k, s->now);
		do {
			sim_take_effects(s, SIM_FLIGHT);
			while (s->nr_flight)
				sim_finish_one(s);
			sim_take_effects(s, SIM_FLIGHT);
		} while (s->nr_flight);
	}
}

/* The adversary goes home: whatever was asked for comes about, then everybody dies. */
static void wind_up(struct sim *s)
{
	s->calm = true;
	s->step++;
	settle(s, 40);
	sim_verify_all(s);
	for (uint32_t i = 0; i < s->nr_procs; i++)
		if (s->procs[i].p && !up_proc_is_dead(s->procs[i].p))
			up_kern_proc_destroy(s->k, s->procs[i].p, s->now);
	settle(s, 40);
	for (uint32_t i = 0; i < s->nr_procs; i++)
		if (s->procs[i].p) {
			sim_fail(s, "a dead process was never released");
			break;
		}
	if (s->k->in_use)
		sim_fail(s, "a core never came back");
	if (s->k->heap_len)
		sim_fail(s, "a deadline that nobody waits for");
	up_kern_destroy(s->k);
	free(s->procs);
	free(s->on_core);
	if (s->live)
		sim_fail(s, "memory was not given back");
}

static int run(struct sim *s, uint64_t steps, uint64_t seed)
{
	struct timespec from, to;
	struct up_kern_cfg cfg = {
		.max_pcores = s->nr_pcores,
		.grace_ns = 1000,
		.quantum_ns = 20000,
		.alloc = alloc_fn,
		.free = free_fn,
		.alloc_arg = s,
		.memory_sz = 1 << 22,
	};
	double took;

	s->rng = seed;
	s->now = 1000;
	s->procs = calloc(s->nr_procs, sizeof(*s->procs));
	s->on_core = calloc(s->nr_pcores, sizeof(*s->on_core));
	s->check_every = (uint64_t)s->nr_pcores + s->nr_procs * 8 <= 256
				 ? 1
				 : (uint64_t)(s->nr_pcores + s->nr_procs * 16) / 8;
	if (!s->procs || !s->on_core || up_kern_create(&cfg, &s->k) < 0) {
		fprintf(stderr, "upcall-sim: out of memory\n");
		return 1;
	}
	for (uint32_t i = 0; i < s->nr_pcores; i++)
		up_kern_core_add(s->k, i, s->now);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	while (s->step < steps && !s->violations)
		one_step(s);
	if (!s->violations)
		wind_up(s);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	took = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	printf("pcores %u procs %u seed %llu: whole machine checked every %llu steps, the process "
	       "that moved after every one\n",
	       s->nr_pcores, s->nr_procs, (unsigned long long)seed,
	       (unsigned long long)s->check_every);
	printf("starts %llu failed %llu takes %llu stale %llu notifications %llu calls %llu "
	       "blocked "
	       "%llu unblocked %llu events %llu deaths %llu core changes %llu\n",
	       (unsigned long long)s->stat.starts, (unsigned long long)s->stat.start_fails,
	       (unsigned long long)s->stat.takes, (unsigned long long)s->stat.stale,
	       (unsigned long long)s->stat.notifies, (unsigned long long)s->stat.calls,
	       (unsigned long long)s->stat.blocks, (unsigned long long)s->stat.unblocks,
	       (unsigned long long)s->stat.events, (unsigned long long)s->stat.deaths,
	       (unsigned long long)s->stat.cores);
	printf("%.0f steps/s\n", took > 0 ? (double)s->step / took : 0.0);
	printf("violations %llu\n", (unsigned long long)s->violations);
	return s->violations ? 1 : 0;
}

static void usage(FILE *to)
{
	fprintf(to, "usage: upcall-sim [--pcores N] [--procs N] [--steps N] [--seed N] [--runs N]\n"
		    "Runs the kernel side against simulated processes.  Defaults: 8 pcores,\n"
		    "4 processes, 100000 steps, seed 1.  The same seed gives the same run.\n"
		    "--runs N: as many runs, each with the next seed, until one fails.\n");
}

static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *ret_nr)
{
	char *end;

	errno = 0;
	if (*text < '0' || *text > '9')
		return false;
	*ret_nr = strtoull(text, &end, 10);
	return !*end && !errno && *ret_nr >= least && *ret_nr <= most;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		uint64_t least, most;
	} opts[] = {
		{ "--pcores", 1, 65536 },	  { "--procs", 1, 60000 },
		{ "--steps", 0, UINT64_MAX - 1 }, { "--seed", 0, UINT64_MAX },
		{ "--runs", 1, 1000000 },
	};
	uint64_t val[] = { 8, 4, 100000, 1, 1 };
	int ret = 0;
	static struct sim sim;

	for (int i = 1; i < argc; i++) {
		size_t o = 0;

		if (!strcmp(argv[i], "--help")) {
			usage(stdout);
			return 0;
		}
		while (o < UP_ARRAY_LEN(opts) && strcmp(argv[i], opts[o].name))
			o++;
		if (o == UP_ARRAY_LEN(opts)) {
			fprintf(stderr, "upcall-sim: unknown argument '%s' (--help says more)\n",
				argv[i]);
			return EXIT_USAGE;
		}
		if (++i == argc || !number(argv[i], opts[o].least, opts[o].most, &val[o])) {
			fprintf(stderr, "upcall-sim: %s wants a number from %llu to %llu\n",
				opts[o].name, (unsigned long long)opts[o].least,
				(unsigned long long)opts[o].most);
			return EXIT_USAGE;
		}
	}
	for (uint64_t nr = 0; nr < val[4] && ret == 0; nr++) {
		memset(&sim, 0, sizeof(sim));
		sim.nr_pcores = (uint32_t)val[0];
		sim.nr_procs = (uint32_t)val[1];
		ret = run(&sim, val[2], val[3] + nr);
	}
	return ret;
}
