/* SPDX-License-Identifier: MIT */
/*
 * treesum DIR: SHA-256 of every file below DIR, as
 *
 *     find DIR -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
 *
 * prints it, by a uthread a file and one a directory, in plain blocking code.  One of a bounded number
 * of descriptors is taken for each first; so many uthreads live at a time, and only the list that is
 * printed grows with the tree.
 *
 * The same text is treesum-pthread, for comparison: see treesum_pthread.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef TREESUM_PTHREAD
#include "treesum_pthread.h"
#else
#include <upcall/sync.h>
#include <upcall/upcall.h>
#endif

#define BUF_SZ	   32768 /* on the stack of whoever reads */
#define STACK_SZ   (BUF_SZ + 32768)
#define LIVE	   128 /* uthreads at a time */
#define MOST_CORES 4096
#define SPECIAL	   "\\\n\r" /* in a name: escaped, so that it is one line */

struct job {
	struct job *next;
	bool is_dir, failed;
	char sum[65];
	char path[];
};

static struct upcall_mutex mutex = UPCALL_MUTEX_INIT;
static struct upcall_cond more = UPCALL_COND_INIT;
static struct job *todo, *done;		 /* with the mutex, as all up to here: */
static unsigned long nr_todo, nr_doing;	 /* jobs */
static unsigned long nr_found, nr_files; /* files, and of these done */
static unsigned long nr_bytes;
static uint64_t shown_ns;
static bool show, failed;

static struct upcall_sem descriptors;
static EVP_MD *sha256;

/* The name as sha256sum prints it: on one line. */
static void print_name(FILE *to, const char *name)
{
	size_t plain = strcspn(name, SPECIAL);

	for (; fwrite(name, 1, plain, to), *(name += plain); plain = strcspn(++name, SPECIAL))
		fprintf(to, "\\%c", *name == '\n' ? 'n' : *name == '\r' ? 'r' : *name);
}

static void complain(const char *path, int error)
{
	flockfile(stderr);
	fprintf(stderr, "%streesum: ", show ? "\r\033[K" : "");
	print_name(stderr, path);
	fprintf(stderr, ": %s\n", strerror(error));
	funlockfile(stderr);
}

static struct job *new_job(const char *dir, const char *name, bool is_dir)
{
	size_t dir_sz = strlen(dir), name_sz = strlen(name) + 1;
	bool slash = dir_sz && dir[dir_sz - 1] != '/';
	struct job *j = malloc(sizeof(*j) + dir_sz + slash + name_sz);

	if (!j) {
		complain(dir, ENOMEM);
		exit(1);
	}
	*j = (struct job){ .is_dir = is_dir };
	memcpy(j->path, dir, dir_sz);
	memcpy(j->path + dir_sz, "/", slash);
	memcpy(j->path + dir_sz + slash, name, name_sz);
	return j;
}

/* ---- a file, and a directory ---- */

static int sum_file(struct job *j, unsigned long *ret_bytes)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int fd = open(j->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	static const char hex[] = "0123456789abcdef";
	unsigned char sum[32];
	char buf[BUF_SZ];
	unsigned i;
	ssize_t n = fd < 0 ? -errno : ctx && EVP_DigestInit_ex(ctx, sha256, NULL) ? 1 : -ENOMEM;

	while (n > 0) {
		n = upcall_read(fd, buf, sizeof(buf));
		if (n > 0 && !EVP_DigestUpdate(ctx, buf, (size_t)n))
			n = -EIO;
		*ret_bytes += n > 0 ? (unsigned long)n : 0;
	}
	if (!n && !EVP_DigestFinal_ex(ctx, sum, NULL))
		n = -EIO;
	for (i = 0; !n && i < sizeof(sum); i++)
		memcpy(j->sum + 2 * i, (char[]){ hex[sum[i] >> 4], hex[sum[i] & 15] }, 2);
	if (fd >= 0)
		close(fd);
	EVP_MD_CTX_free(ctx);
	return (int)n;
}

/* Whether what is called so is a directory, a file, or neither: -1. */
static int kind_of(DIR *dir, const struct dirent *e)
{
	struct stat st;

	if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
		return -1;
	if (e->d_type != DT_UNKNOWN)
		return e->d_type == DT_DIR ? 1 : e->d_type == DT_REG ? 0 : -1;
	if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
		return -1;
	return S_ISDIR(st.st_mode) ? 1 : S_ISREG(st.st_mode) ? 0 : -1;
}

/* What it holds is handed on in one go, once the descriptor is back: nobody waits while he has one. */
static int read_dir(struct job *j, struct job **ret_found)
{
	DIR *dir = opendir(j->path);
	struct dirent *e;
	struct job *f;
	int kind;

	for (errno = dir ? 0 : errno; dir && (e = readdir(dir)); errno = 0) {
		kind = kind_of(dir, e);
		if (kind < 0)
			continue;
		f = new_job(j->path, e->d_name, kind);
		f->next = *ret_found;
		*ret_found = f;
	}
	kind = -errno;
	if (dir)
		closedir(dir);
	return kind;
}

/* ---- jobs ---- */

/* On a terminal only, ten times a second: with the mutex. */
static void show_progress(void)
{
	uint64_t now = upcall_now_ns();
	unsigned width = nr_found ? (unsigned)(nr_files * 40 / nr_found) : 0;

	if (!show || now - shown_ns < 100000000)
		return;
	shown_ns = now;
	fprintf(stderr, "\r[%-40.*s] %lu of %lu files, %lu MB", (int)width,
		"########################################", nr_files, nr_found, nr_bytes >> 20);
}

static void push_jobs(struct job *list)
{
	struct job *j;

	while ((j = list)) {
		list = j->next;
		j->next = todo;
		todo = j;
		nr_todo++;
		nr_found += !j->is_dir;
	}
}

/* What is to be done next: NULL when there is nothing any more. */
static struct job *next_job(void)
{
	struct job *j;

	upcall_mutex_lock(&mutex);
	while (!nr_todo && nr_doing)
		upcall_cond_wait(&more, &mutex);
	j = todo;
	if (j) {
		todo = j->next;
		nr_todo--;
		nr_doing++;
	}
	upcall_mutex_unlock(&mutex);
	return j;
}

/* With a descriptor, which it gives back. */
static void do_job(struct job *j)
{
	struct job *found = NULL;
	unsigned long bytes = 0;
	int r;

	r = j->is_dir ? read_dir(j, &found) : sum_file(j, &bytes);
	upcall_sem_post(&descriptors);
	if (r < 0)
		complain(j->path, -r);
	upcall_mutex_lock(&mutex);
	failed |= j->failed = r < 0;
	nr_files += !j->is_dir;
	nr_bytes += bytes;
	j->next = done;
	done = j;
	push_jobs(found);
	nr_doing--;
	if (nr_todo || !nr_doing)
		upcall_cond_broadcast(&more);
	show_progress();
	upcall_mutex_unlock(&mutex);
}

#ifndef TREESUM_PTHREAD
static void *job_main(void *arg)
{
	do_job(arg);
	return NULL;
}

/* A uthread each, which runs at once: on the stack that the last one has left in the cache. */
static void *hand_out(void *arg)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .detached = true };
	struct job *j;

	while ((j = next_job())) {
		upcall_sem_wait(&descriptors);
		if (upcall_uthread_create(NULL, &attr, job_main, j)) /* no memory: here, then */
			job_main(j);
		else
			upcall_yield();
	}
	return arg;
}

/* One that hands out for each vcore, so that none goes to another for work. */
static int do_jobs(unsigned cores)
{
	struct upcall_opts opts = { .size = sizeof(opts),
				    .vcores = cores,
				    .stack_sz = STACK_SZ + upcall_min_stack() };
	int r = upcall_start(&opts);
	unsigned nr = r ? 0 : upcall_max_vcores(), made = 0;
	struct upcall_uthread *others[MOST_CORES];

	while (made + 1 < nr && made < MOST_CORES &&
	       !upcall_uthread_create(&others[made], NULL, hand_out, NULL))
		made++;
	if (!r)
		hand_out(NULL);
	while (made)
		upcall_uthread_join(others[--made], NULL);
	return r;
}
#endif

/* ---- the whole ---- */

static int by_path(const void *a, const void *b)
{
	return strcmp((*(struct job *const *)a)->path, (*(struct job *const *)b)->path);
}

static void print_sums(void)
{
	struct job **all = calloc(nr_files + 1, sizeof(*all)), *j;
	unsigned long nr = 0, i;

	for (j = done; all && j; j = j->next)
		if (!j->is_dir && !j->failed)
			all[nr++] = j;
	failed |= !all;
	if (nr)
		qsort(all, nr, sizeof(struct job *), by_path);
	for (i = 0; i < nr; i++) {
		printf("%s%s  ", strpbrk(all[i]->path, SPECIAL) ? "\\" : "", all[i]->sum);
		print_name(stdout, all[i]->path);
		putchar('\n');
	}
	free(all);
	failed |= fflush(stdout) != 0;
}

/* A quarter of what may be open: a thread that is blocked has descriptors of the runtime's, and the rest
 * is others'. */
static uint32_t nr_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > 4 * LIVE)
		return LIVE;
	return limit.rlim_cur > 4 ? (uint32_t)limit.rlim_cur / 4 : 1;
}

int main(int argc, char **argv)
{
	char *end = argv[0];
	unsigned long cores = argc == 4 && !strcmp(argv[1], "-j") ? strtoul(argv[2], &end, 10) : 0;
	const char *dir = argv[argc - 1];
	struct stat st;
	int r;

	if ((argc != 2 && (argc != 4 || end == argv[2] || *end || !cores || cores > MOST_CORES)) ||
	    *dir == '-' || !*dir)
		return fprintf(stderr, "usage: treesum [-j CORES] DIR\n"), 64;
	show = isatty(2);
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	upcall_sem_init(&descriptors, nr_descriptors());
	if (lstat(dir, &st) || !sha256)
		return complain(dir, sha256 ? errno : ENOSYS), 1;
	if (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode))
		push_jobs(new_job("", dir, S_ISDIR(st.st_mode)));
	r = do_jobs((unsigned)cores);
	if (r < 0)
		return complain(dir, -r), 1;
	if (show)
		fprintf(stderr, "\r\033[K");
	print_sums();
	return failed;
}
