/* SPDX-License-Identifier: MIT */
/*
 * The one file that knows every layer: it joins the runtime with its default scheduler.
 */
#include "user/uthread.h"

int upcall_start(const struct upcall_opts *opts)
{
	return up_start(opts, &upcall_sched_steal);
}
