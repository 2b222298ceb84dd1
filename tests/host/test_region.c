/* SPDX-License-Identifier: MIT */
/* host/region.h: what each side can and cannot do to the memory, and every call in it failing. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/region.h"
#include "resources.h"

static const struct up_region_cfg small = { .max_vcores = 4, .max_pcores = 2, .max_acts = 8 };
static const struct up_region_cfg handed = {
	.max_vcores = 4, .max_pcores = 2, .max_acts = 8, .shared = true
};

/* The signal that ends a child which writes to `at`, 0 when it may. */
static int write_in_child(volatile uint32_t *at)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		*at = 1;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void bad_sizes_are_refused(void **state)
{
	struct up_region r = { .info_fd = 77 };
	struct up_region_cfg bad[6];

	for (int i = 0; i < 6; i++)
		bad[i] = small;
	bad[0].max_vcores = 0;
	bad[1].max_pcores = 0;
	bad[2].max_acts = 0;
	bad[3].max_vcores = UP_REGION_MAX + 1;
	bad[4].max_pcores = UINT32_MAX;
	bad[5].max_acts = UINT32_MAX;
	for (int i = 0; i < 6; i++)
		assert_int_equal(up_region_create(&bad[i], &r), -EINVAL);
	assert_int_equal(up_region_create(NULL, &r), -EINVAL);
	assert_int_equal(up_region_create(&small, NULL), -EINVAL);
	assert_int_equal(r.info_fd, 77);
	assert_int_equal(up_region_attach(-1, 0, &r), -EINVAL);
	assert_int_equal(up_region_attach(0, -1, &r), -EINVAL);
	assert_int_equal(up_region_attach(0, 0, NULL), -EINVAL);
	up_region_fini(NULL);
	assert_null(up_region_alloc(0, false));
	up_region_free(NULL, 4096);
}

static void both_views_are_the_same_words(struct up_region *r)
{
	r->info->pid = 4711;
	assert_int_equal(r->info_ro->pid, 4711);
	assert_ptr_not_equal(r->info, r->info_ro);
	assert_int_equal(r->data->header_sz, sizeof(struct upabi_procdata));
	assert_true(r->data->magic == UPABI_DATA_MAGIC);
	assert_true(r->data->region_sz == upabi_data_size(4, 8));
}

/* Of a mapping: its line of flags in smaps holds `flag`. */
static int has_flag(const void *at, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512], start[32];
	int here = 0, found = -1;

	snprintf(start, sizeof(start), "%lx-", (unsigned long)at);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, start, strlen(start)))
			here = 1;
		if (here && !strncmp(line, "VmFlags:", 8)) {
			found = strstr(line, flag) != NULL;
			break;
		}
	}
	fclose(f);
	return found;
}

static void check_embedded(struct up_region *r)
{
	struct up_region *reg = r;

	both_views_are_the_same_words(r);
	assert_int_equal(r->info_fd, -1);
	assert_int_equal(r->data_fd, -1);
	/* "dc": not copied by fork */
	assert_int_equal(has_flag(reg->info, " dc"), 1);
	assert_int_equal(has_flag(reg->info_ro, " dc"), 1);
	assert_int_equal(has_flag(reg->data, " dc"), 1);
	assert_int_equal(has_flag(reg->info_ro, " wr"), 0);
	assert_int_equal(write_in_child((uint32_t *)&r->info_ro->pid), SIGSEGV);
	assert_int_equal(write_in_child(&r->data->bell), SIGSEGV);
}

static void embedded_regions_stay_at_home(void **state)
{
	unsigned fds = nr_fds(), maps = nr_maps();
	struct up_region r;

	assert_int_equal(up_region_create(&small, &r), 0);
	assert_int_equal(nr_fds(), fds);
	check_embedded(&r);
	up_region_fini(&r);
	up_region_fini(&r);
	assert_int_equal(nr_maps(), maps);
}

static void without_memfd_the_same_words_are_had(void **state)
{
	struct fail_plan plan = { .prefix = "region_memfd", .at = 0 };
	unsigned fds = nr_fds(), maps = nr_maps();
	struct up_region r;

	up_inject_set_hook(fail_at, &plan);
	assert_int_equal(up_region_create(&small, &r), 0);
	up_inject_set_hook(NULL, NULL);
	assert_string_equal(plan.name, "region_memfd");
	check_embedded(&r);
	up_region_fini(&r);
	assert_int_equal(nr_maps(), maps);
	assert_int_equal(nr_fds(), fds);
}

static void many_vcores_cost_address_space_only(void **state)
{
	struct up_region_cfg big = {
		.max_vcores = 4096, .max_pcores = 1024, .max_acts = 32768, .shared = true
	};
	struct up_region r;
	struct stat st;

	assert_int_equal(up_region_create(&big, &r), 0);
	assert_true(r.data_sz > 4096 * sizeof(struct upabi_vcoredata));
	assert_int_equal(fstat(r.data_fd, &st), 0);
	assert_true(st.st_blocks * 512 <= 8192); /* the header's page */
	up_region_fini(&r);
}

static void who_is_handed_a_region_cannot_turn_it_on_us(void **state)
{
	struct up_region r;
	char path[64];
	int rw;

	assert_int_equal(up_region_create(&handed, &r), 0);
	assert_null(r.info_ro);
	/* Shrunk under us it would be a SIGBUS here. */
	assert_int_equal(ftruncate(r.data_fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_true(mmap(NULL, r.info_sz, PROT_READ | PROT_WRITE, MAP_SHARED, r.info_fd, 0) ==
		    MAP_FAILED);
	assert_int_equal(errno, EACCES);
	/* Nor by opening the same file again for writing, which its owner may. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", r.info_fd);
	rw = open(path, O_RDWR | O_CLOEXEC);
	if (rw >= 0) {
		assert_int_equal(ftruncate(rw, 0), -1);
		assert_int_equal(write(rw, "x", 1), -1);
		assert_true(mmap(NULL, r.info_sz, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0) ==
			    MAP_FAILED);
		assert_int_equal(fcntl(rw, F_ADD_SEALS, F_SEAL_WRITE), -1);
		close(rw);
	}
	assert_int_equal(fcntl(r.data_fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	r.info->pid = 1; /* our own mapping is from before the seal */
	up_region_fini(&r);
}

static void the_other_side_maps_what_it_is_handed(void **state)
{
	unsigned fds = nr_fds(), maps = nr_maps();
	struct up_region ours, theirs;
	int pipefd[2];

	assert_int_equal(up_region_create(&handed, &ours), 0);
	assert_int_equal(up_region_attach(ours.info_fd, ours.data_fd, &theirs), 0);
	assert_null(theirs.info);
	ours.info->pid = 12;
	theirs.data->bell = 13;
	assert_int_equal(theirs.info_ro->pid, 12);
	assert_int_equal(ours.data->bell, 13);
	assert_int_equal(write_in_child((uint32_t *)&theirs.info_ro->pid), SIGSEGV);
	up_region_fini(&theirs);
	assert_int_equal(pipe(pipefd), 0);
	assert_int_equal(up_region_attach(pipefd[0], ours.data_fd, &theirs), -EPROTO);
	assert_int_equal(up_region_attach(ours.info_fd, 9999, &theirs), -EBADF);
	close(pipefd[0]);
	close(pipefd[1]);
	up_region_fini(&ours);
	assert_int_equal(nr_fds(), fds);
	assert_int_equal(nr_maps(), maps);
}

/* Each call that can fail, in turn: an error or a region that works, and nothing left over. */
static void fail_each(const struct up_region_cfg *cfg, bool first_memfd_too)
{
	unsigned fds = nr_fds(), maps = nr_maps(), at;

	for (at = 0;; at++) {
		struct fail_plan plan = { .prefix = "region_", .at = at };
		struct up_region r = { .info_fd = 77 };
		int ret;

		up_inject_set_hook(fail_at, &plan);
		ret = up_region_create(cfg, &r);
		up_inject_set_hook(NULL, NULL);
		if (!plan.name[0])
			break; /* fewer points than that */
		if (ret < 0)
			assert_int_equal(r.info_fd, 77);
		else
			up_region_fini(&r);
		if (nr_fds() != fds || nr_maps() != maps)
			fail_msg("%s at %u: %u descriptors, %u mappings left", plan.name, at,
				 nr_fds() - fds, nr_maps() - maps);
		assert_true(ret == 0 || cfg->shared || first_memfd_too);
	}
	assert_true(at >= 6);
	up_inject_set_hook(NULL, NULL);
}

static void every_failure_leaves_nothing(void **state)
{
	fail_each(&small, false);
	fail_each(&handed, false);
}

/* No memfd, and then something else as well. */
static int no_memfd_and_at(unsigned nr, const char *name, void *arg)
{
	return !strcmp(name, "region_memfd") || fail_at(nr, name, arg);
}

static void the_way_round_fails_as_cleanly(void **state)
{
	unsigned fds = nr_fds(), maps = nr_maps(), at;

	for (at = 0;; at++) {
		struct fail_plan plan = { .prefix = "region_m", .at = at };
		struct up_region r;
		int ret;

		up_inject_set_hook(no_memfd_and_at, &plan);
		ret = up_region_create(&small, &r);
		up_inject_set_hook(NULL, NULL);
		if (!plan.name[0]) {
			assert_int_equal(ret, 0);
			up_region_fini(&r);
			break;
		}
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(nr_fds(), fds);
		assert_int_equal(nr_maps(), maps);
	}
	assert_true(at >= 5);
}

static void memory_is_there_and_stays_or_goes_with_fork(void **state)
{
	unsigned maps = nr_maps();
	uint32_t *ours = up_region_alloc(8192, false), *both = up_region_alloc(100, true);
	unsigned char in_core[2];

	assert_non_null(ours);
	assert_non_null(both);
	assert_int_equal(mincore(ours, 8192, in_core), 0);
	assert_true(in_core[0] & in_core[1] & 1);
	assert_int_equal(ours[2047], 0);
	assert_int_equal(write_in_child(ours), SIGSEGV);
	assert_int_equal(write_in_child(both), 0);
	up_region_free(ours, 8192);
	up_region_free(both, 100);
	assert_int_equal(nr_maps(), maps);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(bad_sizes_are_refused),
	cmocka_unit_test(embedded_regions_stay_at_home),
	cmocka_unit_test(without_memfd_the_same_words_are_had),
	cmocka_unit_test(many_vcores_cost_address_space_only),
	cmocka_unit_test(who_is_handed_a_region_cannot_turn_it_on_us),
	cmocka_unit_test(the_other_side_maps_what_it_is_handed),
	cmocka_unit_test(every_failure_leaves_nothing),
	cmocka_unit_test(the_way_round_fails_as_cleanly),
	cmocka_unit_test(memory_is_there_and_stays_or_goes_with_fork),
};

UNIT_MAIN(tests)
