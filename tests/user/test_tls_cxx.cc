/* SPDX-License-Identifier: MIT */
/* What test_tls asks of C++: a thread_local object with a destructor, and exceptions. */
#include "test_tls_cxx.h"

#include <stdexcept>
#include <string>

namespace
{

struct local {
	int value = 4711;
	int *count = nullptr;

	~local()
	{
		if (count)
			++*count;
	}
};

thread_local local mine;

struct guard {
	int &count;

	~guard()
	{
		++count;
	}
};

int unwound;

void deeper(int depth, int value)
{
	guard g{ unwound };

	if (depth)
		deeper(depth - 1, value);
	else
		throw std::runtime_error(std::to_string(value));
	g.count += 1000;
}

} // namespace

void cxx_make_local(int *count)
{
	mine.count = count;
}

int cxx_local_value(void)
{
	return mine.value;
}

int cxx_throw_and_catch(int value)
{
	unwound = 0;
	try {
		deeper(4, value);
	} catch (const std::runtime_error &e) {
		return unwound == 5 && std::stoi(e.what()) == value;
	}
	return 0;
}
