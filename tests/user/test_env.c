/* SPDX-License-Identifier: MIT */
/* Options by way of the environment: what counts, what is refused, and what is not even looked at. */
#include "rt.h"

#include "user/publish.h"

static const char *const names[] = { "UPCALL_VCORES",	 "UPCALL_MAX_ACTS", "UPCALL_SLICE",
				     "UPCALL_NO_SLICE",	 "UPCALL_GRACE",    "UPCALL_STACK",
				     "UPCALL_SHARED_TLS" };

static void clear(void)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
}

static struct upcall_opts with(const char *name, const char *value)
{
	struct upcall_opts o = { 0 };

	clear();
	setenv(name, value, 1);
	CHECK_INT(up_env_opts(NULL, &o), 0);
	CHECK_INT(o.size, sizeof(o));
	return o;
}

static int case_fields(void)
{
	struct upcall_opts o = { 0 };

	clear();
	CHECK_INT(up_env_opts(NULL, &o), 0);
	CHECK(!o.vcores && !o.max_acts && !o.slice_ns && !o.no_slice && !o.grace_ns &&
	      !o.stack_sz && !o.shared_tls && !o.sched && !o.signo);
	CHECK_INT(with("UPCALL_VCORES", "3").vcores, 3);
	CHECK_INT(with("UPCALL_MAX_ACTS", "77").max_acts, 77);
	CHECK_INT(with("UPCALL_SLICE", "500us").slice_ns, 500000);
	CHECK_INT(with("UPCALL_NO_SLICE", "1").no_slice, true);
	CHECK_INT(with("UPCALL_NO_SLICE", "0").no_slice, false);
	CHECK_INT(with("UPCALL_GRACE", "2ms").grace_ns, 2000000);
	CHECK_INT(with("UPCALL_STACK", "64K").stack_sz, 65536);
	CHECK_INT(with("UPCALL_SHARED_TLS", "1").shared_tls, true);
	/* Set to nothing is not set. */
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		o = with(names[i], "");
		CHECK(!o.vcores && !o.max_acts && !o.slice_ns && !o.no_slice && !o.grace_ns &&
		      !o.stack_sz && !o.shared_tls);
	}
	return 0;
}

/* What the program itself says counts, and then the environment may say what it likes. */
static int case_own_first(void)
{
	struct upcall_opts own = { .size = sizeof(own),
				   .vcores = 1,
				   .max_acts = 2,
				   .slice_ns = 3,
				   .shared_tls = true,
				   .grace_ns = 4,
				   .stack_sz = 5 },
			   o = { 0 };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		setenv(names[i], "nonsense", 1);
	CHECK_INT(up_env_opts(&own, &o), 0);
	CHECK(!memcmp(&own, &o, sizeof(o)));
	own.slice_ns = 0;
	own.no_slice = true; /* a word about slices as well */
	CHECK_INT(up_env_opts(&own, &o), 0);
	CHECK(!memcmp(&own, &o, sizeof(o)));
	/* One field of its own, the others from outside. */
	clear();
	setenv("UPCALL_VCORES", "9", 1);
	setenv("UPCALL_STACK", "1M", 1);
	own = (struct upcall_opts){ .size = sizeof(own), .vcores = 1 };
	CHECK_INT(up_env_opts(&own, &o), 0);
	CHECK_INT(o.vcores, 1);
	CHECK_INT(o.stack_sz, 1 << 20);
	/* Both words about slices: none. */
	setenv("UPCALL_SLICE", "1ms", 1);
	setenv("UPCALL_NO_SLICE", "1", 1);
	CHECK_INT(up_env_opts(NULL, &o), 0);
	CHECK(o.no_slice && !o.slice_ns);
	return 0;
}

static int case_nonsense(void)
{
	static const struct {
		const char *name, *value;
	} bad[] = {
		{ "UPCALL_VCORES", "x" },
		{ "UPCALL_VCORES", "0" },
		{ "UPCALL_VCORES", "-1" },
		{ "UPCALL_VCORES", "1.5" },
		{ "UPCALL_VCORES", "16385" },
		{ "UPCALL_VCORES", "4294967297" },
		{ "UPCALL_MAX_ACTS", "0" },
		{ "UPCALL_MAX_ACTS", "8388608" },
		{ "UPCALL_SLICE", "10" },
		{ "UPCALL_SLICE", "1us" },
		{ "UPCALL_SLICE", "0ms" },
		{ "UPCALL_NO_SLICE", "yes" },
		{ "UPCALL_GRACE", "-1ms" },
		{ "UPCALL_STACK", "1" },
		{ "UPCALL_STACK", "64k" },
		{ "UPCALL_SHARED_TLS", "2" },
		{ "UPCALL_STACK", "999999999999999999999" },
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		clear();
		setenv(bad[i].name, bad[i].value, 1);
		dprintf(2, "%s=%s\n", bad[i].name, bad[i].value);
		CHECK_INT(upcall_start(NULL), -EINVAL);
	}
	/* And nothing is left behind. */
	clear();
	CHECK_INT(upcall_start(NULL), 0);
	return upcall_stop();
}

static int case_takes_effect(void)
{
	clear();
	setenv("UPCALL_VCORES", "1", 1);
	setenv("UPCALL_SHARED_TLS", "1", 1);
	setenv("UPCALL_SLICE", "250us", 1);
	setenv("UPCALL_GRACE", "3ms", 1);
	setenv("UPCALL_MAX_ACTS", "50", 1);
	setenv("UPCALL_STACK", "128K", 1);
	CHECK_INT(upcall_start(NULL), 0);
	CHECK_INT(up_rt.target, 1);
	CHECK_INT(up_rt.own_tls, false);
	CHECK_INT(up_host.slice_ns, 250000);
	CHECK_INT(up_host.max_acts, 50);
	CHECK_INT(up_rt.stack_sz, 128 << 10);
	return upcall_stop();
}

static const struct apart cases[] = {
	CASE("each variable sets its field", case_fields),
	CASE("what the program says itself counts", case_own_first),
	CASE("nonsense refuses the start", case_nonsense),
	CASE("options take effect", case_takes_effect),
};

APART_MAIN(cases)
