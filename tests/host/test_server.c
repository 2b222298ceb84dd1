/* SPDX-License-Identifier: MIT */
/*
 * host/server.h and host/client.h, the server on a thread of this process: bad input, greetings
 * that are wrong, every call that can fail failing on either side, wakes that come in time, and
 * ends of all kinds.
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "host/client.h"
#include "host/server.h"
#include "resources.h"

static char name[64];
static struct up_server *server;
static pthread_t thread;
static uint32_t stop;

static struct up_server_cfg server_cfg(void)
{
	return (struct up_server_cfg){ .name = name,
				       .max_pcores = 4,
				       .max_vcores = 8,
				       .max_acts = 32,
				       .max_clients = 3,
				       .grace_ns = UP_NSEC_PER_MSEC,
				       .take_ns = UP_NSEC_PER_MSEC };
}

static struct up_client_cfg client_cfg(void)
{
	return (struct up_client_cfg){
		.name = name, .max_vcores = 4, .max_acts = 8, .signal = SIGURG
	};
}

static void *serve(void *arg)
{
	while (!up_load_acquire(&stop))
		if (up_server_step(server, 5))
			return (void *)1;
	return NULL;
}

static int set_up(void **state)
{
	struct up_server_cfg cfg = server_cfg();

	alarm(30); /* a hang is a failure */
	snprintf(name, sizeof(name), "upcall-test-server-%d", getpid());
	cfg.name = name;
	stop = 0;
	if (up_server_create(&cfg, &server) || up_server_core_add(server, 0) ||
	    up_server_core_add(server, 1))
		return -1;
	return pthread_create(&thread, NULL, serve, NULL);
}

static void end_server(void)
{
	void *bad = NULL;

	if (!server)
		return;
	up_store_release(&stop, 1);
	pthread_join(thread, &bad);
	assert_null(bad);
	up_server_destroy(server);
	server = NULL;
}

static int tear_down(void **state)
{
	up_inject_set_hook(NULL, NULL);
	end_server();
	alarm(0);
	return 0;
}

static void no_clients(void)
{
	while (up_load_relaxed(&stop) == 0 && up_server_clients(server))
		usleep(200); /* the alarm is the limit */
}

static void bad_servers_are_refused(void **state)
{
	struct up_server_cfg cfg = server_cfg();
	struct up_server *s = (void *)1;
	struct upabi_event ev = { 0 };
	char lengthy[200];

	assert_int_equal(up_server_create(NULL, &s), -EINVAL);
	assert_int_equal(up_server_create(&cfg, NULL), -EINVAL);
	assert_int_equal(up_server_create(&cfg, &s), -EADDRINUSE);
	cfg.name = NULL;
	assert_int_equal(up_server_create(&cfg, &s), -EINVAL);
	cfg.name = "";
	assert_int_equal(up_server_create(&cfg, &s), -EINVAL);
	memset(lengthy, 'x', sizeof(lengthy) - 1);
	lengthy[sizeof(lengthy) - 1] = 0;
	cfg.name = lengthy;
	assert_int_equal(up_server_create(&cfg, &s), -EINVAL);
	cfg = server_cfg();
	cfg.max_clients = 0;
	assert_int_equal(up_server_create(&cfg, &s), -EINVAL);
	assert_ptr_equal(s, (void *)1);
	up_server_destroy(NULL);
	assert_int_equal(up_server_step(NULL, 0), -EINVAL);
	assert_int_equal(up_server_core_add(NULL, 0), -EINVAL);
	assert_int_equal(up_server_core_remove(NULL, 0, 0), -EINVAL);
	assert_int_equal(up_server_core_limit(NULL, 0), -EINVAL);
	assert_int_equal(up_server_kill(NULL, 1), -EINVAL);
	assert_int_equal(up_server_preempt(NULL, 1, 0, 0), -EINVAL);
	assert_int_equal(up_server_post(NULL, 1, 0, &ev), -EINVAL);
	assert_int_equal(up_server_clients(NULL), 0);
	assert_null(up_server_kern(NULL));
}

static void bad_clients_are_refused(void **state)
{
	struct up_client_cfg cfg = client_cfg();
	struct up_client *c = (void *)1;
	struct up_wire_msg m;

	assert_int_equal(up_client_attach(NULL, &c), -EINVAL);
	assert_int_equal(up_client_attach(&cfg, NULL), -EINVAL);
	cfg.name = NULL;
	assert_int_equal(up_client_attach(&cfg, &c), -EINVAL);
	cfg.name = "";
	assert_int_equal(up_client_attach(&cfg, &c), -EINVAL);
	cfg.name = "upcall-nobody-serves-here";
	assert_int_equal(up_client_attach(&cfg, &c), -ECONNREFUSED);
	cfg = client_cfg();
	cfg.max_vcores = 9;
	assert_int_equal(up_client_attach(&cfg, &c), -EINVAL);
	cfg = client_cfg();
	cfg.max_acts = 0;
	assert_int_equal(up_client_attach(&cfg, &c), -EINVAL);
	cfg = client_cfg();
	cfg.signal = SIGKILL;
	assert_int_equal(up_client_attach(&cfg, &c), -EINVAL);
	assert_ptr_equal(c, (void *)1);
	up_client_detach(NULL);
	assert_null(up_client_port(NULL));
	assert_int_equal(up_client_next(NULL, 0, &m), -EINVAL);
	no_clients();
}

static int dial(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	memcpy(to.sun_path + 1, name, strlen(name));
	assert_int_equal(
		connect(sock, (void *)&to,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))),
		0);
	return sock;
}

static void wrong_greetings_are_hung_up_on(void **state)
{
	struct up_wire_hello h = { .magic = UP_WIRE_MAGIC + 1, .version = UPABI_VERSION };
	struct up_wire_welcome w = { 0 };
	char byte;
	int sock = dial();

	assert_int_equal(send(sock, &h, sizeof(h), 0), sizeof(h));
	assert_int_equal(recv(sock, &w, sizeof(w), 0), sizeof(w));
	assert_int_equal(w.result, -EPROTO);
	assert_int_equal(recv(sock, &byte, 1, 0), 0);
	close(sock);
	sock = dial();
	assert_int_equal(send(sock, &h, 7, 0), 7);
	assert_int_equal(recv(sock, &byte, 1, 0), 0);
	close(sock);
	no_clients();
}

static void who_says_nothing_is_not_kept(void **state)
{
	uint64_t start = up_now_ns();
	int sock = dial();
	char byte;

	assert_int_equal(recv(sock, &byte, 1, 0), 0);
	assert_true(up_now_ns() - start < 10 * UP_NSEC_PER_SEC);
	close(sock);
	no_clients();
}

static void there_is_room_for_so_many(void **state)
{
	struct up_client_cfg cfg = client_cfg();
	struct up_client *c[4];

	for (int i = 0; i < 3; i++)
		assert_int_equal(up_client_attach(&cfg, &c[i]), 0);
	assert_true(up_client_attach(&cfg, &c[3]) < 0);
	up_client_detach(c[0]);
	while (up_server_clients(server) == 3)
		usleep(200);
	assert_int_equal(up_client_attach(&cfg, &c[0]), 0);
	for (int i = 0; i < 3; i++)
		up_client_detach(c[i]);
	no_clients();
}

/* A caller asleep is woken by the answer, not by its own doubts, which come after 50 ms. */
static void answers_wake_their_callers(void **state)
{
	struct up_client_cfg cfg = client_cfg();
	struct up_client *c;
	uint64_t start;

	assert_int_equal(up_client_attach(&cfg, &c), 0);
	start = up_now_ns();
	for (int i = 0; i < 40; i++)
		assert_int_equal(
			up_port_call(up_client_port(c), cfg.max_acts, UPABI_OP_REQUEST, NULL, NULL),
			0);
	assert_true(up_now_ns() - start < 40 * 25 * UP_NSEC_PER_MSEC);
	up_client_detach(c);
	no_clients();
}

static void a_slow_reader_hears_what_it_missed(void **state)
{
	struct up_client_cfg cfg = client_cfg();
	struct up_wire_msg m;
	struct up_client *c;
	uint64_t val;
	int got, dropped = 0, resync = 0;

	assert_int_equal(up_client_attach(&cfg, &c), 0);
	/* A message for each activation dropped, and nobody reads. */
	for (int i = 0; i < 3000; i++) {
		const uint64_t one[5] = { 1 };

		assert_int_equal(
			up_port_call(up_client_port(c), cfg.max_acts, UPABI_OP_ACT_ADD, one, &val),
			0);
		assert_int_equal(
			up_port_call(up_client_port(c), cfg.max_acts, UPABI_OP_ACT_DEL, one, &val),
			0);
	}
	while (!resync && (got = up_client_next(c, 1000, &m)) == 1) {
		dropped += m.op == UP_WIRE_DROP_ACT;
		resync += m.op == UP_WIRE_RESYNC;
	}
	assert_true(dropped == 3000 || resync == 1);
	assert_int_equal(resync, 1);
	up_client_detach(c);
	no_clients();
}

static int calls_fail(struct up_port *port)
{
	return up_port_call(port, port->max_acts, UPABI_OP_EVENT_ALLOC, NULL, NULL);
}

static void the_end_of_the_server_is_noticed(void **state)
{
	struct up_client_cfg cfg = client_cfg();
	uint64_t start = up_now_ns();
	struct up_wire_msg m;
	struct up_client *c;
	uint32_t seen;

	assert_int_equal(up_client_attach(&cfg, &c), 0);
	assert_int_equal(up_client_next(c, 0, &m), 0);
	seen = up_port_gate(up_client_port(c), 0);
	end_server();
	assert_int_equal(calls_fail(up_client_port(c)), -EPIPE);
	assert_int_equal(up_client_next(c, 1000, &m), -EPIPE);
	assert_int_not_equal(up_port_gate_wait(up_client_port(c), 0, seen), seen);
	assert_true(up_now_ns() - start < 2 * UP_NSEC_PER_SEC);
	up_client_detach(c);
}

/* In a child, so that it can be killed: attached, then as told. */
static pid_t attached_child(int how)
{
	struct up_client_cfg cfg = client_cfg();
	struct up_client *c;
	pid_t pid = fork();

	if (pid)
		return pid;
	alarm(10);
	if (up_client_attach(&cfg, &c))
		_exit(1);
	if (how == 1)
		_exit(calls_fail(up_client_port(c)) ? 2 : 0);
	for (;;)
		pause();
}

static void a_process_that_ends_is_forgotten(void **state)
{
	int status;
	pid_t pid = attached_child(1);

	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	no_clients();
	pid = attached_child(0);
	while (!up_server_clients(server))
		usleep(200);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	no_clients();
}

/* The server's calls that can fail, in turn: the client hears an error or is served, and when it has
 * gone nothing is left. */
static void each_failure_leaves_nothing(void **state)
{
	static const char *const prefixes[] = { "region_", "server_", "client_" };
	struct up_client_cfg cfg = client_cfg();
	struct up_client *c;
	unsigned fds, maps, refused = 0;

	/* Once for what stays: tables that grow. */
	assert_int_equal(up_client_attach(&cfg, &c), 0);
	up_client_detach(c);
	no_clients();
	usleep(20000);
	fds = nr_fds();
	maps = nr_maps();
	for (unsigned p = 0; p < 3; p++) {
		struct fail_plan plan = { .name = "-" };

		for (unsigned at = 0; plan.name[0]; at++) {
			int ret;

			plan = (struct fail_plan){ .prefix = prefixes[p], .at = at };
			up_inject_set_hook(fail_at, &plan);
			ret = up_client_attach(&cfg, &c);
			up_inject_set_hook(NULL, NULL);
			refused += ret < 0;
			if (!ret)
				up_client_detach(c);
			no_clients();
			for (int i = 0; i < 100 && (nr_fds() != fds || nr_maps() > maps + 2); i++)
				usleep(1000); /* the member is freed at the end of a step */
			if (nr_fds() != fds)
				fail_msg("%s: %d descriptors left", plan.name,
					 (int)(nr_fds() - fds));
			if (nr_maps() > maps + 2)
				fail_msg("%s: %d mappings left", plan.name,
					 (int)(nr_maps() - maps));
		}
	}
	assert_true(refused >= 15);
	assert_int_equal(up_client_attach(&cfg, &c), 0); /* and it still serves */
	up_client_detach(c);
	no_clients();
}

static void a_server_that_cannot_start_leaves_nothing(void **state)
{
	struct up_server_cfg cfg = server_cfg();
	struct fail_plan plan = { .name = "-" };
	struct up_server *s = (void *)1;
	unsigned fds;

	end_server();
	fds = nr_fds();
	for (unsigned at = 0; plan.name[0]; at++) {
		int ret;

		plan = (struct fail_plan){ .prefix = "server_", .at = at };
		up_inject_set_hook(fail_at, &plan);
		ret = up_server_create(&cfg, &s);
		up_inject_set_hook(NULL, NULL);
		if (ret < 0)
			assert_ptr_equal(s, (void *)1);
		else
			up_server_destroy(s);
		assert_true(ret < 0 || !plan.name[0]);
		assert_int_equal(nr_fds(), fds);
		s = (void *)1;
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
static const struct CMUnitTest tests[] = {
	T(bad_servers_are_refused),
	T(bad_clients_are_refused),
	T(wrong_greetings_are_hung_up_on),
	T(who_says_nothing_is_not_kept),
	T(there_is_room_for_so_many),
	T(answers_wake_their_callers),
	T(a_slow_reader_hears_what_it_missed),
	T(the_end_of_the_server_is_noticed),
	T(a_process_that_ends_is_forgotten),
	T(each_failure_leaves_nothing),
	T(a_server_that_cannot_start_leaves_nothing),
};

UNIT_MAIN(tests)
