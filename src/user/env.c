/* SPDX-License-Identifier: MIT */
/*
 * Options that come by way of the environment: defaults for what the program itself leaves open, set by
 * whoever runs it (`upcall run`, or by hand).  docs/env.md is the contract.  One that makes no sense
 * refuses the start, since a run with other options than asked for would not show; one that the
 * program's own choice makes unnecessary is not looked at.  Nothing is read in a set-uid program.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "user/publish.h"

/* Not set, or set to nothing: *ret_value stays.  0 would mean the default: that is not said by number. */
static int get(const char *name, const struct up_unit *units, uint64_t max, uint64_t *ret_value)
{
	const char *text = secure_getenv(name);
	uint64_t value;

	if (!text || !*text)
		return 0;
	if (up_units_parse(text, units, &value) || !value || value > max)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

static int get_flag(const char *name, bool *ret_flag)
{
	const char *text = secure_getenv(name);

	if (!text || !*text || !strcmp(text, "0"))
		return 0;
	*ret_flag = true;
	return strcmp(text, "1") ? -EINVAL : 0;
}

/* The three ways to say nothing of slices, one of them by saying nothing. */
static int get_slice(struct upcall_opts *o)
{
	int r;

	if (o->no_slice || o->slice_ns)
		return 0;
	r = get_flag("UPCALL_NO_SLICE", &o->no_slice);
	return r || o->no_slice ? r
				: get("UPCALL_SLICE", up_units_duration, UINT64_MAX, &o->slice_ns);
}

int up_env_opts(const struct upcall_opts *given, struct upcall_opts *ret_opts)
{
	struct upcall_opts o = { .size = sizeof(o) };
	uint64_t vcores, acts, stack;
	int r = 0;

	if (given)
		o = *given;
	vcores = o.vcores;
	acts = o.max_acts;
	stack = o.stack_sz;
	if (!vcores)
		r = get("UPCALL_VCORES", up_units_count, UINT_MAX, &vcores);
	if (!r && !acts)
		r = get("UPCALL_MAX_ACTS", up_units_count, UINT_MAX, &acts);
	if (!r && !stack)
		r = get("UPCALL_STACK", up_units_size, SIZE_MAX, &stack);
	if (!r && !o.grace_ns)
		r = get("UPCALL_GRACE", up_units_duration, UINT64_MAX, &o.grace_ns);
	if (!r)
		r = get_slice(&o);
	if (!r && !o.shared_tls)
		r = get_flag("UPCALL_SHARED_TLS", &o.shared_tls);
	if (r)
		return r;
	o.vcores = (unsigned)vcores;
	o.max_acts = (unsigned)acts;
	o.stack_sz = stack;
	*ret_opts = o;
	return 0;
}
