/* SPDX-License-Identifier: MIT */
/*
 * Gate 1's job in the resolver: it waits for its answers in a poll of libc's own, which nothing
 * announces. Asked is a server of the test's, another process on loopback, that takes its time, and
 * sends an answer to nobody's question before some of the right ones. Names it knows all: the address
 * is made of the name, so that an answer to another uthread's question is seen.
 */
#include "gate1.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <nss.h>
#include <poll.h>
#include <resolv.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HEADER_SZ 12
#define ANSWER_SZ 16
#define AT_ONCE	  64

static struct sockaddr_in server;
static pid_t server_pid;
static uint64_t answered; /* atomic */

/* Somewhere in 10.0.0.0/8. Takes a name as it is in messages: lengths stand for the dots. */
static uint32_t address_of(const unsigned char *name, size_t sz)
{
	uint32_t h = 2166136261u;
	size_t i;

	for (i = 0; i < sz; i++)
		h = (h ^ name[i]) * 16777619u;
	return 0x0a000000u | (h & 0xffffffu);
}

/* ---- the server ---- */

/* Makes the answer out of the question, in place; 0 when it is none. */
static size_t make_answer(unsigned char *msg, size_t sz)
{
	static const unsigned char fixed[] = { 0xc0, HEADER_SZ, 0, T_A, 0, C_IN, 0, 0, 0, 1, 0, 4 };
	size_t end = HEADER_SZ;
	uint32_t address;

	while (end < sz && msg[end])
		end += msg[end] + 1u;
	if (end + 5 > sz || msg[2] & 0x80)
		return 0;
	address = htonl(address_of(msg + HEADER_SZ, end - HEADER_SZ));
	end += 5; /* the name's end, type and class */
	msg[2] |= 0x80;
	msg[3] = 0x80;
	memcpy(msg + 4, (unsigned char[]){ 0, 1, 0, 1, 0, 0, 0, 0 }, 8);
	memcpy(msg + end, fixed, sizeof(fixed));
	memcpy(msg + end + sizeof(fixed), &address, 4);
	return end + ANSWER_SZ;
}

static void answer_one(int fd, unsigned char *msg, size_t sz, const struct sockaddr_in *to)
{
	size_t len = make_answer(msg, sz);

	if (!len)
		return;
	if (msg[1] % 4 == 0) {
		msg[0] ^= 0xff;
		sendto(fd, msg, len, 0, (const struct sockaddr *)to, sizeof(*to));
		msg[0] ^= 0xff;
	}
	sendto(fd, msg, len, 0, (const struct sockaddr *)to, sizeof(*to));
}

/* Late enough that who asks sleeps, and all that has come meanwhile in one go. */
static void serve(int fd, pid_t parent)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned char msg[512 + ANSWER_SZ];
	struct sockaddr_in from;
	socklen_t from_sz;
	ssize_t n;
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent) {
		poll(&p, 1, -1);
		nanosleep(&(struct timespec){ 0, 500000 }, NULL);
		for (i = 0; i < AT_ONCE; i++) {
			from_sz = sizeof(from);
			n = recvfrom(fd, msg, 512, MSG_DONTWAIT, (struct sockaddr *)&from,
				     &from_sz);
			if (n <= 0)
				break;
			answer_one(fd, msg, (size_t)n, &from);
		}
	}
	_exit(0);
}

static int before_resolver(void)
{
	socklen_t sz = sizeof(server);
	pid_t parent = getpid();
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	server = (struct sockaddr_in){ .sin_family = AF_INET };
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	answered = 0;
	if (fd < 0 || bind(fd, (struct sockaddr *)&server, sizeof(server)) ||
	    getsockname(fd, (struct sockaddr *)&server, &sz) ||
	    __nss_configure_lookup("hosts", "files dns"))
		return -errno;
	server_pid = fork();
	if (!server_pid)
		serve(fd, parent);
	close(fd);
	return server_pid > 0 ? 0 : -errno;
}

static void after_resolver(void)
{
	CHECK(answered > 0);
	CHECK(!kill(server_pid, SIGKILL) && waitpid(server_pid, NULL, 0) == server_pid);
}

/* ---- who asks ---- */

/* Whatever the machine's own configuration says, our server is asked, and no other. */
static void ask_only_ours(struct __res_state *res)
{
	res->options = RES_INIT | RES_DEFAULT;
	res->nscount = 1;
	res->nsaddr_list[0] = server;
	res->retrans = 5;
	res->retry = 5;
}

static uint32_t make_name(struct gate1_me *me, char *text, size_t sz)
{
	unsigned char wire[64];
	unsigned id = (unsigned)gate1_below(me, 1000000);
	int len = snprintf(text, sz, "w%u-%u.gate1.test.", me->nr, id);
	int label = len - (int)sizeof("gate1.test");

	wire[0] = (unsigned char)(label - 1);
	memcpy(wire + 1, text, (size_t)len);
	wire[label] = 5;
	wire[label + 6] = 4;
	return address_of(wire, (size_t)len);
}

static void ask(struct gate1_me *me)
{
	struct __res_state res;
	unsigned char msg[512];
	uint32_t address;
	char name[64];
	int n;

	memset(&res, 0, sizeof(res));
	CHECK(!res_ninit(&res));
	ask_only_ours(&res);
	address = htonl(make_name(me, name, sizeof(name)));
	n = res_nquery(&res, name, C_IN, T_A, msg, sizeof(msg));
	CHECK(n > HEADER_SZ + ANSWER_SZ && !memcmp(msg + n - 4, &address, 4));
	res_nclose(&res);
}

/* With the state that libc keeps for each thread. */
static void look_up(struct gate1_me *me)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	struct addrinfo *ai = NULL;
	uint32_t address;
	char name[64];
	int r;

	CHECK(_res.options & RES_INIT || !res_init());
	ask_only_ours(&_res);
	address = make_name(me, name, sizeof(name));
	r = getaddrinfo(name, NULL, &hints, &ai);
	CHECK(!r && ai);
	if (r || !ai)
		return;
	CHECK(((struct sockaddr_in *)(void *)ai->ai_addr)->sin_addr.s_addr == htonl(address));
	freeaddrinfo(ai);
}

static void run_resolver(struct gate1_me *me)
{
	if (gate1_below(me, 2))
		ask(me);
	else
		look_up(me);
	__atomic_fetch_add(&answered, 1, __ATOMIC_RELAXED);
}

const struct gate1_job gate1_resolver_jobs[] = {
	{ "resolver", run_resolver, 4, before_resolver, after_resolver },
	{ NULL, NULL, 0, NULL, NULL },
};
