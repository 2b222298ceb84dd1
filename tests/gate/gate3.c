/* SPDX-License-Identifier: MIT */
/*
 * Gate 3: runs the scenarios against one side, and afterwards counts what is left over.
 *
 *	gate3 embedded|remote|virtual [--seed N] [--rounds N] [--seconds N] [--only NAME]
 *	      [--vcores N]	 so many vcores can run at once (default: all)
 */
#include "entries.h"
#include "tap.h"

#include <string.h>
#include <unistd.h>

#include "gate3.h"
#include "gate3_machine.h"

static struct {
	const struct g3_side *side;
	uint64_t seed;
	unsigned rounds;
	unsigned seconds;
	unsigned vcores;
	const char *only;
} opt = { .seed = 1, .rounds = 1 };

/* NULL, or what went wrong. */
static const char *run_once(const struct g3_scenario *s, uint64_t seed)
{
	static struct g3 g;
	static char text[512];
	unsigned fds = entries("/proc/self/fd");
	const char *broken;
	int ret = g3_open(&g, opt.side, &s->cfg, seed);

	if (ret) {
		snprintf(text, sizeof(text), "cannot open: %d", ret);
		return text;
	}
	s->run(&g);
	broken = up_load_acquire(&g.port->lost) && opt.side->virtual_time ? NULL
									  : opt.side->check(&g);
	if (broken)
		g3_fail(&g, "invariant: %s", broken);
	g3_close(&g);
	if (!g.broken[0] && entries("/proc/self/fd") != fds)
		g3_fail(&g, "%d descriptors left", (int)(entries("/proc/self/fd") - fds));
	if (!g.broken[0])
		return NULL;
	snprintf(text, sizeof(text), "seed %llu: %s", (unsigned long long)seed, g.broken);
	return text;
}

static void run(const struct g3_scenario *s, uint64_t seed, unsigned rounds)
{
	const char *broken = NULL;
	unsigned i;

	for (i = 0; i < rounds && !broken; i++)
		broken = run_once(s, seed + i);
	tap_ok(!broken, "%s: %s%s%s", opt.side->name, s->name, broken ? ": " : "",
	       broken ? broken : "");
}

static bool parse(int argc, char **argv)
{
	static const struct g3_side *const sides[] = { &g3_embed, &g3_remote, &g3_sim };

	for (unsigned i = 0; argc > 1 && i < 3; i++)
		if (!strcmp(argv[1], sides[i]->name))
			opt.side = sides[i];
	for (int i = 2; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seed"))
			opt.seed = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--rounds"))
			opt.rounds = (unsigned)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--seconds"))
			opt.seconds = (unsigned)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--vcores"))
			opt.vcores = (unsigned)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--only"))
			opt.only = argv[i + 1];
		else
			return false;
	}
	return opt.side;
}

/* Rounds of everything until the time is up; one point for each scenario. */
static void soak(void)
{
	uint64_t end = up_now_ns() + opt.seconds * UP_NSEC_PER_SEC;
	const char *broken[64] = { 0 };
	unsigned rounds = 0;

	for (; up_now_ns() < end; rounds++)
		for (unsigned i = 0; i < g3_nr_scenarios; i++) {
			const char *text = broken[i]
						   ? NULL
						   : run_once(&g3_scenarios[i], opt.seed + rounds);

			if (text)
				broken[i] = strdup(text);
		}
	for (unsigned i = 0; i < g3_nr_scenarios; i++)
		tap_ok(!broken[i], "%s: %s, %u rounds%s%s", opt.side->name, g3_scenarios[i].name,
		       rounds, broken[i] ? ": " : "", broken[i] ? broken[i] : "");
}

int main(int argc, char **argv)
{
	unsigned nr = 0;

	if (!parse(argc, argv)) {
		fprintf(stderr, "gate3 embedded|remote|virtual [--seed N] [--rounds N] "
				"[--seconds N] [--only NAME] [--vcores N]\n");
		return 2;
	}
	g3_machine_begin(opt.vcores);
	for (unsigned i = 0; i < g3_nr_scenarios; i++)
		nr += !opt.only || !strcmp(opt.only, g3_scenarios[i].name);
	tap_plan(nr);
	if (opt.seconds) {
		soak();
		return tap_done();
	}
	for (unsigned i = 0; i < g3_nr_scenarios; i++)
		if (!opt.only || !strcmp(opt.only, g3_scenarios[i].name))
			run(&g3_scenarios[i], opt.seed, opt.rounds);
	return tap_done();
}
