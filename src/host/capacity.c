/* SPDX-License-Identifier: MIT */
/*
 * Affinity, cpuset and quota of one task, read again and again. See capacity.h for what is promised.
 *
 * A source keeps open what it reads, so that reading again costs one pread a file.
 */
#include "host/capacity_int.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mutant.h"

/* A decimal number of at most 64 bits at *at, moved behind it and one blank or newline. */
static bool take_u64(const char **at, uint64_t *ret_number)
{
	const char *p = *at;
	uint64_t number = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*p - '0'), &number))
			return false;
	if (*p == ' ' || *p == '\n')
		p++;
	else if (*p)
		return false;
	*at = p;
	*ret_number = number;
	return true;
}

/* "max 100000" or "150000 100000". 1: a quota; 0: none; -EINVAL: senseless. */
static int parse_cpu_max(const char *text, uint64_t *ret_quota, uint64_t *ret_period)
{
	bool none = !strncmp(text, "max ", 4);

	if (none)
		text += 4;
	else if (!take_u64(&text, ret_quota) || !*ret_quota)
		return -EINVAL;
	if (!take_u64(&text, ret_period) || !*ret_period || *text)
		return -EINVAL;
	return !none;
}

/* A version 1 file with one number; -1 in it means none. Results as above. */
static int parse_v1(const char *text, uint64_t *ret_number)
{
	if (!strcmp(text, "-1\n") || !strcmp(text, "-1"))
		return 0;
	if (!take_u64(&text, ret_number) || !*ret_number || *text)
		return -EINVAL;
	return 1;
}

/* 1 and a quota, 0 for none, -EINVAL for senseless text, or why it could not be read. */
static int read_limit(struct up_capacity_src *src, const struct up_limit *limit,
		      uint64_t *ret_quota, uint64_t *ret_period)
{
	ssize_t len = up_view_read(src, limit->quota_fd, false);
	int found;

	if (len < 0)
		return (int)len;
	if (limit->period_fd < 0)
		return parse_cpu_max(src->text, ret_quota, ret_period);
	found = parse_v1(src->text, ret_quota);
	if (found <= 0)
		return found;
	len = up_view_read(src, limit->period_fd, false);
	if (len < 0)
		return (int)len;
	return parse_v1(src->text, ret_period) == 1 ? 1 : -EINVAL;
}

/* The tightest quota of all groups in sight, into src->next. */
static int read_quota(struct up_capacity_src *src)
{
	struct up_capacity *next = &src->next;

	for (uint32_t i = 0; i < src->view.nr_limits; i++) {
		uint64_t quota = 0, period = 0;
		int found = read_limit(src, &src->view.limit[i], &quota, &period);

		if (found == -EINVAL)
			next->flags |= UP_CAPACITY_MALFORMED;
		else if (found < 0)
			return found;
		if (found <= 0 || ((next->flags & UP_CAPACITY_QUOTA) &&
				   (unsigned __int128)quota * next->period_us >=
					   (unsigned __int128)next->quota_us * period))
			continue;
		next->flags |= UP_CAPACITY_QUOTA;
		next->quota_us = quota;
		next->period_us = period;
		next->quota_up = src->view.limit[i].up;
	}
	return 0;
}

/* The thread's affinity, into src->next.cpus, with more room until the kernel's mask fits. */
static int read_affinity(struct up_capacity_src *src)
{
	struct up_cpus *cpus = &src->next.cpus;
	pid_t tid = src->tid ? src->tid : getpid();
	uint32_t nr_cpus = UP_MAX(cpus->nr_words * 64, 1024u);

	for (;; nr_cpus *= 2) {
		int err = up_cpus_reserve(cpus, nr_cpus);

		if (err)
			return err;
		up_cpus_clear(cpus);
		if (!sched_getaffinity(tid, cpus->nr_words * sizeof(*cpus->word),
				       (cpu_set_t *)(void *)cpus->word))
			return 0;
		if (errno != EINVAL || nr_cpus >= UP_CPUS_MAX)
			return -errno;
	}
}

/* Narrows src->next.cpus to the cpuset. */
static int read_cpuset(struct up_capacity_src *src)
{
	struct up_capacity *next = &src->next;
	ssize_t len;
	int err;

	if (src->view.cpuset_fd < 0)
		return 0;
	len = up_view_read(src, src->view.cpuset_fd, false);
	if (len < 0)
		return (int)len;
	up_cpus_clear(&src->set);
	err = up_cpus_parse(&src->set, src->text, (size_t)len);
	if (err == -ENOMEM)
		return err;
	if (err) {
		next->flags |= UP_CAPACITY_MALFORMED;
		return 0;
	}
	next->nr_cpuset = up_cpus_count(&src->set);
	if (up_cpus_intersect(&next->cpus, &src->set))
		up_cpus_and(&next->cpus, &src->set);
	else
		next->flags |= UP_CAPACITY_DISJOINT;
	return 0;
}

uint32_t up_capacity_round(uint64_t quota_us, uint64_t period_us, uint32_t nr_cpus)
{
	uint64_t cores;

	if (!period_us)
		return nr_cpus;
	cores = quota_us / period_us;
	if (UP_MUT(capacity_rounded_up))
		cores += quota_us % period_us != 0;
	return (uint32_t)UP_MIN(UP_MAX(cores, UINT64_C(1)), (uint64_t)nr_cpus);
}

/* Every value anew into src->next. */
static int read_values(struct up_capacity_src *src)
{
	struct up_capacity *next = &src->next;
	int err;

	*next = (struct up_capacity){ .cpus = next->cpus, .flags = src->view.flags };
	err = read_quota(src);
	if (!err)
		err = read_affinity(src);
	if (!err)
		err = read_cpuset(src);
	if (err)
		return err;
	next->nr_cpus = up_cpus_count(&next->cpus);
	if (!next->nr_cpus)
		return -ESRCH;
	next->core_limit = next->nr_cpus;
	if (next->flags & UP_CAPACITY_QUOTA) {
		next->core_limit = up_capacity_round(next->quota_us, next->period_us,
						     next->nr_cpus);
		if (next->quota_us < next->period_us)
			next->flags |= UP_CAPACITY_BELOW_ONE;
	}
	next->nr_scans = src->nr_scans;
	return 0;
}

int up_capacity_read(struct up_capacity_src *src, struct up_capacity *ret_cap)
{
	struct up_cpus cpus;
	int err;

	if (!src || !ret_cap)
		return -EINVAL;
	/* First of all, so that a write from here on leaves its event for the next time. */
	err = up_view_follow(src, up_view_take_events(src));
	if (!err)
		err = read_values(src);
	/* The group whose file was open is gone, so the task has left it. */
	if (err == -ENODEV) {
		err = up_view_follow(src, true);
		if (!err)
			err = read_values(src);
		if (err == -ENODEV)
			err = -EAGAIN;
	}
	if (UP_MUT(capacity_events_late))
		up_view_take_events(src);
	if (!err)
		err = up_cpus_copy(&ret_cap->cpus, &src->next.cpus);
	if (err)
		return err;
	cpus = ret_cap->cpus;
	*ret_cap = src->next;
	ret_cap->cpus = cpus;
	return 0;
}

void up_capacity_fini(struct up_capacity *cap)
{
	if (!cap)
		return;
	up_cpus_fini(&cap->cpus);
	*cap = (struct up_capacity){ 0 };
}

bool up_capacity_same(const struct up_capacity *a, const struct up_capacity *b)
{
	return a->core_limit == b->core_limit && a->quota_us == b->quota_us &&
	       a->period_us == b->period_us && up_cpus_equal(&a->cpus, &b->cpus);
}

int up_capacity_fd(const struct up_capacity_src *src)
{
	return src ? src->notify_fd : -EINVAL;
}

int up_capacity_open(const struct up_capacity_cfg *cfg, struct up_capacity_src **ret_src)
{
	const char *root = cfg && cfg->root ? cfg->root : "";
	struct up_capacity_src *src;
	int err;

	if (!ret_src || (cfg && cfg->tid < 0))
		return -EINVAL;
	if (strlen(root) >= sizeof(src->root))
		return -ENAMETOOLONG;
	src = calloc(1, sizeof(*src));
	if (!src)
		return -ENOMEM;
	strcpy(src->root, root);
	src->tid = cfg ? cfg->tid : 0;
	src->cgroup_fd = -1;
	src->view.cpuset_fd = -1;
	src->quiet = cfg && cfg->quiet;
	/* Few instances are allowed to a user: without one we live from re-reads. */
	src->notify_fd = src->quiet ? -ENODATA : inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (src->notify_fd == -1)
		src->notify_fd = -errno;
	err = up_view_open(src);
	if (!err)
		err = up_view_follow(src, true);
	/* Once now, so that a thread that is not there is noticed at once. */
	if (!err)
		err = read_values(src);
	if (err) {
		up_capacity_close(src);
		return err;
	}
	*ret_src = src;
	return 0;
}

void up_capacity_close(struct up_capacity_src *src)
{
	if (!src)
		return;
	up_view_close(src);
	if (src->notify_fd >= 0)
		close(src->notify_fd);
	up_cpus_fini(&src->next.cpus);
	up_cpus_fini(&src->set);
	free(src->groups);
	free(src->text);
	free(src);
}
