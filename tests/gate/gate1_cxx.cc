// SPDX-License-Identifier: MIT
//
// Gate 1's jobs in libstdc++: exceptions through frames that clean up, streams, regular expressions,
// containers, mutexes, thread_local objects with a destructor.
#include "gate1.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <iomanip>
#include <map>
#include <memory>
#include <mutex>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

struct Cleaner {
	int &count;
	explicit Cleaner(int &c) : count(c)
	{
		++count;
	}
	~Cleaner()
	{
		--count;
	}
};

struct Odd : std::runtime_error {
	uint64_t value;
	explicit Odd(uint64_t v) : std::runtime_error("odd"), value(v)
	{
	}
};

__attribute__((noinline)) uint64_t deep(int depth, uint64_t v, int &alive)
{
	Cleaner c(alive);
	std::string s(20 + (size_t)depth, 'x');

	if (!depth)
		throw Odd(v);
	return deep(depth - 1, v + s.size(), alive) + 1;
}

void throws(gate1_me *me)
{
	int alive = 0, depth = 3 + (int)gate1_below(me, 20);
	uint64_t v = gate1_random(me), sum = v;

	for (int i = depth; i > 0; i--)
		sum += 20 + (uint64_t)i;
	try {
		deep(depth, v, alive);
		CHECK(!"nothing was thrown");
	} catch (const Odd &e) {
		CHECK(e.value == sum && alive == 0 && std::string(e.what()) == "odd");
	}
	try {
		try {
			std::vector<int>(3).at(5) = 1;
		} catch (const std::out_of_range &) {
			CHECK(std::current_exception() != nullptr);
			throw;
		}
	} catch (const std::exception &e) {
		CHECK(std::string(e.what()).find("range") != std::string::npos);
	}
	CHECK(std::current_exception() == nullptr && std::uncaught_exceptions() == 0);
}

void run_throw(gate1_me *me)
{
	for (int i = 0; i < 10; i++)
		throws(me);
}

void run_streams(gate1_me *me)
{
	std::ostringstream out;
	uint64_t v = gate1_random(me), back = 0;
	double x = (double)gate1_below(me, 1 << 20) / 1024, y = 0;
	std::string word;

	out << std::hex << v << ' ' << std::setprecision(17) << std::dec << x << " end";
	std::istringstream in(out.str());
	in >> std::hex >> back >> std::dec >> y >> word;
	CHECK(back == v && x == y && word == "end" && in.eof());
}

void run_regex(gate1_me *me)
{
	std::regex re("(\\w+)@(\\w+)\\.org");
	std::string text = "write to someone@example.org, please";
	std::smatch m;

	CHECK(std::regex_search(text, m, re) && m[1] == "someone" && m[2] == "example");
	CHECK(std::regex_replace(text, re, "$2") == "write to example, please");
	try {
		std::regex broken("(");
		CHECK(!"a broken expression was taken");
	} catch (const std::regex_error &) {
	}
}

void run_containers(gate1_me *me)
{
	std::map<std::string, std::shared_ptr<uint64_t>> m;
	std::vector<uint64_t> v(200);
	uint64_t sum = 0;

	for (auto &x : v)
		x = gate1_below(me, 1000);
	for (auto x : v)
		m[std::to_string(x)] = std::make_shared<uint64_t>(x);
	std::stable_sort(v.begin(), v.end());
	CHECK(std::is_sorted(v.begin(), v.end()));
	v.erase(std::unique(v.begin(), v.end()), v.end());
	for (auto x : v)
		sum += x;
	for (auto &p : m)
		sum -= *p.second;
	CHECK(sum == 0 && m.size() == v.size());
}

std::mutex lock;
std::condition_variable changed;
uint64_t guarded[2];
std::once_flag once;
int once_count;
std::atomic<int> objects;

struct Object {
	uint64_t n = 0;
	Object()
	{
		++objects;
	}
	~Object()
	{
		--objects;
	}
};
thread_local Object mine;

void run_mutex(gate1_me *me)
{
	std::call_once(once, [] { once_count++; });
	CHECK(once_count == 1);
	for (int i = 0; i < 10; i++) {
		std::unique_lock<std::mutex> l(lock);
		CHECK(guarded[0] == guarded[1]);
		guarded[0]++;
		guarded[1]++;
		if (i == 5)
			changed.wait_for(l, std::chrono::microseconds(200));
		changed.notify_one();
	}
	uint64_t was = mine.n;
	throws(me);
	CHECK(mine.n++ == was);
}

void run_cxx(gate1_me *me)
{
	switch (gate1_below(me, 5)) {
	case 0:
		run_streams(me);
		break;
	case 1:
		run_regex(me);
		break;
	case 2:
		run_containers(me);
		break;
	case 3:
		run_mutex(me);
		break;
	default:
		run_throw(me);
	}
}

void after_cxx()
{
	CHECK(objects <= 1); // of the first thread, at most: those of uthreads are gone
}

} // namespace

extern "C" const gate1_job gate1_cxx_jobs[] = {
	{ "libstdc++", run_cxx, 7, nullptr, after_cxx },
	{ nullptr, nullptr, 0, nullptr, nullptr },
};
