/* SPDX-License-Identifier: MIT */
/*
 * Gate 1's jobs in libc: the allocator across uthreads, stdio on shared FILEs, names, numbers and
 * locales, the dynamic linker.
 */
#include "gate1.h"

#include <dlfcn.h>
#include <errno.h>
#include <iconv.h>
#include <link.h>
#include <locale.h>
#include <math.h>
#include <netdb.h>
#include <pwd.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

/* ---- malloc ---- */

#define NR_SLOTS 128

struct block {
	size_t sz;
	uint64_t mark;
	uint64_t words[];
};

static struct block *slots[NR_SLOTS];

static size_t some_size(struct gate1_me *me)
{
	static const size_t limits[] = { 64, 256, 1024, 8192, 65536, 400000 };

	return sizeof(struct block) + gate1_below(me, limits[gate1_below(me, 6)]);
}

/* All of a small block, of a large one a word a cache line or a page: the work is to be libc's. */
static size_t stride(size_t sz)
{
	return sz <= 256 ? 1 : sz <= 8192 ? 8 : 512;
}

static void mark(struct block *b, size_t sz, uint64_t with)
{
	size_t i;

	memset(b, 0, sz); /* its pages come in there, and not here */
	b->sz = sz;
	b->mark = with;
	for (i = 0; i < (sz - sizeof(*b)) / 8; i += stride(b->sz))
		b->words[i] = with ^ i;
}

static bool marked(const struct block *b, size_t sz)
{
	size_t i;

	for (i = 0; i < (sz - sizeof(*b)) / 8; i += stride(b->sz))
		if (b->words[i] != (b->mark ^ i))
			return false;
	return true;
}

static void give_and_take(struct gate1_me *me)
{
	size_t sz = some_size(me), more;
	struct block *b = malloc(sz);

	CHECK(b);
	if (!b)
		return;
	mark(b, sz, gate1_random(me));
	b = __atomic_exchange_n(&slots[gate1_below(me, NR_SLOTS)], b, __ATOMIC_ACQ_REL);
	if (!b)
		return;
	CHECK(marked(b, b->sz));
	if (gate1_below(me, 3) == 0) {
		more = some_size(me);
		sz = b->sz < more ? b->sz : more;
		b = realloc(b, more);
		CHECK(b && marked(b, sz));
	}
	free(b);
}

static void run_malloc(struct gate1_me *me)
{
	unsigned char *zero;
	void *aligned = NULL;
	size_t sz = 1 + gate1_below(me, 5000), i;
	int n;

	for (n = 0; n < 40; n++)
		give_and_take(me);
	zero = calloc(sz, 3);
	for (i = 0; zero && i < 3 * sz && !zero[i]; i++)
		;
	CHECK(zero && i == 3 * sz);
	if (zero)
		memset(zero, 0xff, 3 * sz);
	free(zero);
	CHECK(!posix_memalign(&aligned, 4096, sz) && (uintptr_t)aligned % 4096 == 0);
	free(aligned);
}

static void after_malloc(void)
{
	unsigned i;

	for (i = 0; i < NR_SLOTS; i++) {
		CHECK(!slots[i] || marked(slots[i], slots[i]->sz));
		free(slots[i]);
		slots[i] = NULL;
	}
}

/* ---- stdio ---- */

#define NR_SHARED   3
#define MAX_LINES   150000u
#define MAX_WRITERS 2048

static struct {
	FILE *f;
	char path[256];
	unsigned lines;		       /* atomic */
	unsigned next_of[MAX_WRITERS]; /* its writer's */
} shared[NR_SHARED];

static int before_stdio(void)
{
	unsigned i;

	for (i = 0; i < NR_SHARED; i++) {
		memset(&shared[i], 0, sizeof(shared[i]));
		snprintf(shared[i].path, sizeof(shared[i].path), "%s/shared%u", gate1_dir(), i);
		shared[i].f = fopen(shared[i].path, "w");
		if (!shared[i].f)
			return -errno;
	}
	return 0;
}

static void write_shared(struct gate1_me *me)
{
	unsigned i = (unsigned)gate1_below(me, NR_SHARED), n;
	int wrote;

	if (me->nr >= MAX_WRITERS ||
	    __atomic_fetch_add(&shared[i].lines, 1, __ATOMIC_RELAXED) >= MAX_LINES)
		return;
	n = shared[i].next_of[me->nr]++;
	wrote = fprintf(shared[i].f, "%u %u %.3f %s %d\n", me->nr, n, n / 8.0, "some words", -7);
	CHECK(wrote > 0);
	if (gate1_below(me, 50) == 0)
		CHECK(!fflush(shared[i].f));
	if (gate1_below(me, 10) == 0) {
		flockfile(shared[i].f);
		CHECK(putc_unlocked('#', shared[i].f) == '#');
		CHECK(putc_unlocked('\n', shared[i].f) == '\n');
		funlockfile(shared[i].f);
	}
}

static void own_file(struct gate1_me *me)
{
	char out[64], in[64];
	FILE *f = tmpfile();
	unsigned n;

	CHECK(f);
	if (!f)
		return;
	for (n = 0; n < 60; n++)
		CHECK(fprintf(f, "line %u of %u\n", n, me->nr) > 0);
	rewind(f);
	for (n = 0; n < 60; n++) {
		snprintf(out, sizeof(out), "line %u of %u\n", n, me->nr);
		CHECK(fgets(in, sizeof(in), f) && !strcmp(in, out));
	}
	CHECK(fgetc(f) == EOF && feof(f) && !ferror(f));
	CHECK(!fclose(f));
}

static void run_stdio(struct gate1_me *me)
{
	int n;

	for (n = 0; n < 20; n++)
		write_shared(me);
	if (gate1_below(me, 4) == 0)
		own_file(me);
}

static void check_lines(unsigned i)
{
	static unsigned seen[MAX_WRITERS];
	unsigned nr, n;
	char line[200], should[200];
	FILE *f = fopen(shared[i].path, "r");

	CHECK(f);
	memset(seen, 0, sizeof(seen));
	while (f && fgets(line, sizeof(line), f)) {
		if (!strcmp(line, "#\n"))
			continue;
		if (sscanf(line, "%u %u", &nr, &n) != 2 || nr >= MAX_WRITERS) {
			CHECK(!"a line of the shared file is broken");
			continue;
		}
		snprintf(should, sizeof(should), "%u %u %.3f %s %d\n", nr, n, n / 8.0, "some words",
			 -7);
		CHECK(!strcmp(line, should));
		CHECK(n == seen[nr]);
		seen[nr] = n + 1;
	}
	CHECK(!memcmp(seen, shared[i].next_of, sizeof(seen)));
	if (f)
		fclose(f);
}

static void after_stdio(void)
{
	unsigned i;

	for (i = 0; i < NR_SHARED; i++) {
		CHECK(!fclose(shared[i].f));
		check_lines(i);
		unlink(shared[i].path);
	}
}

/* ---- names ---- */

static void look_up(const char *host, int flags, int family, const char *numeric)
{
	struct addrinfo hints = { .ai_flags = flags,
				  .ai_family = family,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *ai = NULL;
	char name[NI_MAXHOST] = "";
	int r = getaddrinfo(host, "80", &hints, &ai);

	CHECK(r == 0);
	if (r)
		return;
	r = getnameinfo(ai->ai_addr, ai->ai_addrlen, name, sizeof(name), NULL, 0, NI_NUMERICHOST);
	CHECK(r == 0 && !strcmp(name, numeric));
	freeaddrinfo(ai);
}

static void run_names(struct gate1_me *me)
{
	struct passwd pw, *found = NULL;
	char buf[4096];

	look_up("127.0.0.1", AI_NUMERICHOST, AF_UNSPEC, "127.0.0.1");
	look_up("::1", AI_NUMERICHOST, AF_INET6, "::1");
	look_up("192.0.2.77", AI_NUMERICHOST, AF_INET, "192.0.2.77");
	look_up("localhost", 0, AF_INET, "127.0.0.1");
	CHECK(!getpwuid_r(0, &pw, buf, sizeof(buf), &found) && found &&
	      !strcmp(pw.pw_name, "root"));
}

/* ---- numbers, texts, locales ---- */

static int by_value(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void sort(struct gate1_me *me)
{
	uint32_t v[1500], sum = 0, n = (uint32_t)gate1_below(me, 1500) + 1, i, key;

	gate1_fill(me, v, sizeof(v));
	for (i = 0; i < n; i++)
		sum += v[i];
	key = v[n / 2];
	qsort(v, n, sizeof(v[0]), by_value);
	for (i = 0; i < n; i++)
		sum -= v[i];
	CHECK(!sum);
	for (i = 1; i < n && v[i - 1] <= v[i]; i++)
		;
	CHECK(i >= n);
	CHECK(bsearch(&key, v, n, sizeof(v[0]), by_value));
}

static void round_trip(struct gate1_me *me)
{
	char text[64], *end;
	double x, y;
	uint64_t bits;
	int n;

	for (n = 0; n < 40; n++) {
		bits = gate1_random(me);
		memcpy(&x, &bits, 8);
		if (!isfinite(x))
			continue;
		snprintf(text, sizeof(text), "%.17g", x);
		y = strtod(text, &end);
		CHECK(!*end && !memcmp(&x, &y, 8));
		snprintf(text, sizeof(text), "%a", x);
		CHECK(strtod(text, NULL) == x);
	}
	snprintf(text, sizeof(text), "%2$s %1$08.3f|%3$'d", 1.5, "of", 42);
	CHECK(!strcmp(text, "of 0001.500|42"));
	x = 0.1 + (double)gate1_below(me, 1000);
	CHECK(fabs(sin(x) * sin(x) + cos(x) * cos(x) - 1) < 1e-12);
	CHECK(fabs(exp(log(x)) / x - 1) < 1e-12 && fabs(pow(sqrt(x), 2) / x - 1) < 1e-12);
}

static void locales(void)
{
	locale_t utf8 = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0), old;
	wchar_t wide[32];
	char back[32];

	CHECK(utf8);
	if (!utf8)
		return;
	old = uselocale(utf8);
	CHECK(mbstowcs(wide, "gr\xc3\xbc\xc3\x9f\x65", 32) == 5);
	CHECK(wide[2] == 0xfc && towupper((wint_t)wide[2]) == 0xdc);
	CHECK(wcstombs(back, wide, sizeof(back)) == 7 && back[0] == 'g');
	uselocale(old);
	freelocale(utf8);
}

static void patterns(struct gate1_me *me)
{
	regmatch_t m[3];
	regex_t re;

	CHECK(!regcomp(&re, "([a-z]+)=([0-9]+)", REG_EXTENDED));
	CHECK(!regexec(&re, "  width=1200;", 3, m, 0) && m[1].rm_so == 2 && m[2].rm_eo == 12);
	CHECK(regexec(&re, "width=;", 3, m, 0) == REG_NOMATCH);
	regfree(&re);
}

static void convert(void)
{
	iconv_t cd = iconv_open("UTF-16LE", "UTF-8");
	char in[] = "a\xc3\xa9z", out[16], *from = in, *to = out;
	size_t in_left = 4, out_left = sizeof(out);

	CHECK(cd != (iconv_t)-1);
	if (cd == (iconv_t)-1)
		return;
	CHECK(iconv(cd, &from, &in_left, &to, &out_left) == 0);
	CHECK(out_left == 10 && !memcmp(out, "a\0\xe9\0z\0", 6));
	CHECK(!iconv_close(cd));
}

static void dates(struct gate1_me *me)
{
	time_t t = (time_t)gate1_below(me, 2000000000), back;
	char text[64];
	struct tm tm;

	CHECK(gmtime_r(&t, &tm));
	back = timegm(&tm);
	CHECK(back == t);
	CHECK(localtime_r(&t, &tm) && mktime(&tm) == t);
	CHECK(strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) == 19);
}

static void run_text(struct gate1_me *me)
{
	sort(me);
	round_trip(me);
	switch (gate1_below(me, 4)) {
	case 0:
		locales();
		break;
	case 1:
		patterns(me);
		break;
	case 2:
		convert();
		break;
	default:
		dates(me);
	}
}

/* ---- the dynamic linker ---- */

#define NR_COPIES 3

static char copies[2 * NR_COPIES][4096];

int gate1_copy_library(const char *soname, const char *as, char *ret_path)
{
	void *lib = dlopen(soname, RTLD_NOW);
	struct link_map *map;
	char buf[65536];
	size_t n;
	FILE *from = NULL, *to = NULL;

	snprintf(ret_path, 4096, "%s/%s", gate1_dir(), as);
	if (lib && !dlinfo(lib, RTLD_DI_LINKMAP, &map)) {
		from = fopen(map->l_name, "r");
		to = fopen(ret_path, "w");
	}
	while (from && to && (n = fread(buf, 1, sizeof(buf), from)))
		fwrite(buf, 1, n, to);
	if (from)
		fclose(from);
	if (lib)
		dlclose(lib);
	return to && !fclose(to) ? 0 : -ENOENT;
}

static int before_dl(void)
{
	char name[32];
	int i, r = 0;

	for (i = 0; i < NR_COPIES && !r; i++) {
		snprintf(name, sizeof(name), "copy%d.so", i);
		r = gate1_copy_library("libz.so.1", name, copies[i]);
		snprintf(name, sizeof(name), "copy%d.so", NR_COPIES + i);
		if (!r)
			r = gate1_copy_library("libm.so.6", name, copies[NR_COPIES + i]);
	}
	return r;
}

static void after_dl(void)
{
	int i;

	for (i = 0; i < 2 * NR_COPIES; i++)
		unlink(copies[i]);
}

static void run_dl(struct gate1_me *me)
{
	unsigned i = (unsigned)gate1_below(me, 2 * NR_COPIES);
	unsigned long (*crc)(unsigned long, const unsigned char *, unsigned);
	double (*cube)(double);
	void *lib = dlopen(copies[i], RTLD_NOW | (gate1_below(me, 2) ? RTLD_LOCAL : RTLD_GLOBAL));

	CHECK(lib);
	if (!lib)
		return;
	if (i < NR_COPIES) {
		crc = (unsigned long (*)(unsigned long, const unsigned char *, unsigned))(
			uintptr_t)dlsym(lib, "crc32");
		CHECK(crc && crc(0, (const unsigned char *)"123456789", 9) == 0xcbf43926);
	} else {
		cube = (double (*)(double))(uintptr_t)dlsym(lib, "cbrt");
		CHECK(cube && fabs(cube(27.0) - 3.0) < 1e-12);
	}
	CHECK(!dlsym(lib, "no_such_symbol") && dlerror());
	CHECK(!dlclose(lib));
}

const struct gate1_job gate1_libc_jobs[] = {
	{ "malloc", run_malloc, 24, NULL, after_malloc },
	{ "stdio", run_stdio, 20, before_stdio, after_stdio },
	{ "names", run_names, 8, NULL, NULL },
	{ "text", run_text, 160, NULL, NULL },
	{ "dlopen", run_dl, 4, before_dl, after_dl },
	{ NULL, NULL, 0, NULL, NULL },
};
