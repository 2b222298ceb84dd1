/* SPDX-License-Identifier: MIT */
/* thread_local and pthread keys: each uthread's own, made on first use, destroyed at its end; and
 * exceptions, thrown while preempted and moved. */
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "contract.h"

namespace
{

volatile int made, destroyed, key_runs;

struct counted {
	std::string text = "made";

	counted()
	{
		__atomic_fetch_add(&made, 1, __ATOMIC_RELAXED);
	}
	~counted()
	{
		if (text == "used")
			__atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
	}
};

thread_local counted object;
thread_local int plain = 77;
pthread_key_t key;

void on_key(void *value)
{
	__atomic_fetch_add(&key_runs, *(int *)value, __ATOMIC_RELAXED);
	delete (int *)value;
}

void *use_locals(void *arg)
{
	long bad = plain != 77 || object.text != "made" || pthread_getspecific(key);

	object.text = "used";
	plain = (int)(uintptr_t)arg;
	pthread_setspecific(key, new int(1));
	for (int i = 0; i < 5; i++) {
		contract_linger();
		bad += plain != (int)(uintptr_t)arg || object.text != "used" ||
		       *(int *)pthread_getspecific(key) != 1;
	}
	return (void *)bad;
}

struct guard {
	int &count;

	~guard()
	{
		++count;
	}
};

void deeper(int depth, int &unwound)
{
	guard g{ unwound };
	std::vector<int> some(100, depth);

	if (depth > 0)
		deeper(depth - 1, unwound);
	else
		throw std::runtime_error(std::to_string(unwound + 4711));
	some.push_back(unwound);
}

void *throw_often(void *)
{
	long bad = 0;

	for (int i = 0; i < 300; i++) {
		int unwound = 0;

		try {
			deeper(20, unwound);
			bad++;
		} catch (const std::runtime_error &e) {
			if (i % 50 == 0)
				contract_linger();
			bad += unwound != 21 || std::string(e.what()) != "4711";
		}
	}
	return (void *)bad;
}

void *throw_nested(void *)
{
	long bad = 1;

	try {
		try {
			throw 1;
		} catch (int) {
			contract_linger();
			upcall_yield();
			throw;
		}
	} catch (int i) {
		bad = i != 1 || std::uncaught_exceptions() != 0;
	}
	return (void *)bad;
}

int exit_unwound;

void exit_deep(int depth)
{
	guard g{ exit_unwound };

	if (depth > 0)
		exit_deep(depth - 1);
	else if (g.count == 0)
		pthread_exit((void *)815);
}

void *exit_and_unwind(void *)
{
	contract_linger();
	exit_deep(4);
	return nullptr;
}

} // namespace

int main(int argc, char **argv)
{
	long exited;

	contract_args(&argc, argv);
	pthread_key_create(&key, on_key);
	contract_begin(7);
	tap_ok(contract_run_many(10, use_locals) == 0, "thread_local and keys in 10 uthreads");
	tap_ok(made == 10 && destroyed == 10, "%d objects made, %d destroyed", made, destroyed);
	tap_ok(key_runs == 10, "%d destructors of keys", key_runs);
	tap_ok(contract_run_many(6, throw_often) == 0, "exceptions under preemption");
	tap_ok(contract_run_many(6, throw_nested) == 0, "rethrown after a switch");
	exited = (long)contract_run(exit_and_unwind, nullptr);
	tap_ok(exited == 815 && exit_unwound == 5, "pthread_exit() unwinds (%d)", exit_unwound);
	tap_ok(plain == 77, "the first uthread's are its own");
	return contract_end();
}
