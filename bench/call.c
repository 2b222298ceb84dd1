/* SPDX-License-Identifier: MIT */
/*
 * What a call into the kernel side costs that changes nothing: a request for what one has. Embedded;
 * in a second process on the same core and on another one; beside them a system call, and the same
 * bell and the same wake between two processes with nothing in between, which is the least that the
 * machine asks for.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/futex.h"
#include "host/client.h"
#include "host/embed.h"
#include "host/server.h"

#define SAMPLES 15

struct figure {
	const char *name;
	double ns[SAMPLES];
};

static struct up_port *port;

static void one_call(void)
{
	up_port_call(port, port->max_acts, UPABI_OP_REQUEST, NULL, NULL);
}

static void one_syscall(void)
{
	syscall(SYS_getppid);
}

static uint32_t *word; /* shared with the other side of the bare round trip */
static int bell;

static void one_round(void)
{
	uint64_t one = 1;
	uint32_t seen = up_load_acquire(word);

	if (write(bell, &one, sizeof(one)) != sizeof(one))
		return;
	for (int i = 0; i < 200 && up_load_acquire(word) == seen; i++)
		up_cpu_relax();
	while (up_load_acquire(word) == seen)
		up_futex_wait_shared(word, seen, UP_FUTEX_FOREVER);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(struct figure *f, const char *name, unsigned calls, void (*one)(void))
{
	f->name = name;
	for (int s = -1; s < SAMPLES; s++) { /* the first one warms up */
		uint64_t start = up_now_ns();

		for (unsigned i = 0; i < calls; i++)
			one();
		f->ns[s < 0 ? 0 : s] = (double)(up_now_ns() - start) / calls;
	}
	qsort(f->ns, SAMPLES, sizeof(double), by_value);
}

static void pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void measure_embedded(struct figure *f)
{
	static const struct up_embed_ops none = { 0 };
	struct up_embed_cfg cfg = { .max_pcores = 2, .max_vcores = 2, .max_acts = 8, .ops = &none };
	struct up_embed *embed;

	if (up_embed_create(&cfg, &embed))
		exit(1);
	port = up_embed_port(embed);
	measure(f, "embedded", 100000, one_call);
	up_embed_destroy(embed);
}

static void serve(const char *name, unsigned cpu)
{
	struct up_server_cfg cfg = {
		.name = name, .max_pcores = 2, .max_vcores = 2, .max_acts = 8, .max_clients = 1
	};
	struct up_server *s;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(cpu);
	if (up_server_create(&cfg, &s))
		_exit(1);
	while (!up_server_step(s, -1))
		;
	_exit(1);
}

static void measure_remote(struct figure *f, const char *what, unsigned cpu)
{
	struct up_client_cfg cfg = { .max_vcores = 2, .max_acts = 8, .signal = SIGURG };
	struct up_client *client = NULL;
	char name[64];
	pid_t pid;

	snprintf(name, sizeof(name), "upcall-bench-%d-%u", getpid(), cpu);
	cfg.name = name;
	pid = fork();
	if (pid == 0)
		serve(name, cpu);
	for (int i = 0; i < 1000 && up_client_attach(&cfg, &client); i++)
		usleep(1000);
	if (!client)
		exit(1);
	port = up_client_port(client);
	measure(f, what, 2000, one_call);
	up_client_detach(client);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void answer_bells(unsigned cpu)
{
	int epoll = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(cpu);
	epoll_ctl(epoll, EPOLL_CTL_ADD, bell, &ev);
	for (;;) {
		epoll_wait(epoll, &ev, 1, -1);
		up_fetch_add_release(word, 1);
		up_futex_wake_shared(word, 1);
	}
}

static void measure_bare(struct figure *f, const char *what, unsigned cpu)
{
	pid_t pid;

	word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bell = eventfd(0, EFD_NONBLOCK);
	pid = fork();
	if (pid == 0)
		answer_bells(cpu);
	usleep(20000); /* it has to be at its post, or the first round waits for it */
	measure(f, what, 2000, one_round);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(bell);
	munmap(word, 4096);
}

static void print(const struct figure *f, unsigned nr, bool json)
{
	if (json)
		printf("{\"rows\": [{\"name\": \"a call that changes nothing\", \"unit\": \"ns\", "
		       "\"vcores\": 1, \"contenders\": {");
	for (unsigned i = 0; i < nr; i++) {
		const double *ns = f[i].ns;

		printf(json ? "%s\"%s\": {\"median\": %.1f, \"min\": %.1f, \"max\": %.1f}"
			    : "%s%-28s %8.1f ns  (%.1f to %.1f)",
		       json && i ? ", " : "", f[i].name, ns[SAMPLES / 2], ns[0], ns[SAMPLES - 1]);
		if (!json)
			putchar('\n');
	}
	if (json)
		puts("}}]}");
}

int main(int argc, char **argv)
{
	bool json = argc > 1 && !strcmp(argv[1], "--json");
	struct figure f[6];
	unsigned nr = 0;

	pin(0);
	measure(&f[nr++], "system call", 100000, one_syscall);
	measure_embedded(&f[nr++]);
	measure_bare(&f[nr++], "bell and wake, same core", 0);
	measure_remote(&f[nr++], "second process, same core", 0);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1) {
		measure_bare(&f[nr++], "bell and wake, other core", 1);
		measure_remote(&f[nr++], "second process, other core", 1);
	}
	print(f, nr, json);
	return 0;
}
