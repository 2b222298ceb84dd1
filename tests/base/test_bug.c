/* SPDX-License-Identifier: MIT */
/* base/bug.h: stops at once where it must, evaluates nothing where it was compiled out. */
#include "unit.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#undef UP_ASSERTS_ON
#include "base/bug.h"

static bool stops(bool broken)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		signal(SIGILL, SIG_DFL);
		signal(SIGTRAP, SIG_DFL);
		UP_BUG_ON(broken);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	return WIFSIGNALED(status) && (WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGTRAP);
}

static void bug_on_stops_only_when_true(void **state)
{
	assert_true(stops(true));
	assert_false(stops(false));
}

static void asserts_compiled_out_evaluate_nothing(void **state)
{
	int calls = 0;

	UP_ASSERT(++calls == 7);
	assert_int_equal(calls, 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(bug_on_stops_only_when_true),
	cmocka_unit_test(asserts_compiled_out_evaluate_nothing),
};

UNIT_MAIN(tests)
