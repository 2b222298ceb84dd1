/* SPDX-License-Identifier: MIT */
/*
 * The servers of build/bench/http: see http.h.  nginx is set up as its documents advise for small
 * files that do not change: one worker a core, descriptors and file facts cached, no log.
 */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define PROCESSES_MAX 64
#define START_S	      10
#define STOP_S	      10

static char dir[64], file[128], conf[128], here[2048];

static const char nginx_conf[] =
	"daemon off; master_process on; worker_processes %u; worker_rlimit_nofile %u;\n"
	"user root; pid %s/nginx.pid; error_log stderr crit;\n"
	"events { use epoll; worker_connections %u; multi_accept on; }\n"
	"http {\n"
	"	access_log off; server_tokens off; default_type application/octet-stream;\n"
	"	sendfile off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout "
	"600;\n"
	"	open_file_cache max=1000 inactive=60s; open_file_cache_valid 1s;\n"
	"	client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;\n"
	"	uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
	"	server { listen 127.0.0.1:%u backlog=4096; root %s/www; }\n"
	"}\n";

const char *http_name(enum http_kind kind)
{
	static const char *const names[] = { "upcall", "upcall-shared", "nginx", "go" };

	return names[kind];
}

unsigned http_nr_files(void)
{
	struct rlimit files = { 0, 0 };

	getrlimit(RLIMIT_NOFILE, &files);
	return files.rlim_max > 1000000 ? 1000000 : (unsigned)files.rlim_max;
}

static bool find_here(void)
{
	ssize_t n = readlink("/proc/self/exe", here, sizeof(here) - 100);
	char *slash;

	here[n > 0 ? n : 0] = 0;
	slash = strrchr(here, '/');
	if (slash)
		*slash = 0;
	return slash;
}

bool http_servers_init(unsigned body_sz)
{
	struct rlimit files = { http_nr_files(), http_nr_files() };
	char www[80];
	FILE *f;

	setrlimit(RLIMIT_NOFILE, &files);
	strcpy(dir, "/tmp/bench-http-XXXXXX");
	if (!find_here() || !mkdtemp(dir))
		return false;
	snprintf(www, sizeof(www), "%s/www", dir);
	snprintf(file, sizeof(file), "%s/www/file", dir);
	snprintf(conf, sizeof(conf), "%s/nginx.conf", dir);
	mkdir(www, 0755);
	chmod(dir, 0755);
	f = fopen(file, "w");
	while (f && body_sz--)
		fputc('a' + (int)(body_sz % 26), f);
	return f && !fclose(f);
}

void http_servers_fini(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (*dir && system(command))
		fprintf(stderr, "%s is left\n", dir);
}

static const char *nginx_path(void)
{
	return access("/usr/sbin/nginx", X_OK) ? "/usr/local/sbin/nginx" : "/usr/sbin/nginx";
}

static void path_of(enum http_kind kind, char *path, size_t sz)
{
	if (kind == HTTP_NGINX)
		snprintf(path, sz, "%s", nginx_path());
	else
		snprintf(path, sz, "%s/%s", here,
			 kind == HTTP_GO ? "peer/http-go" : "../examples/httpd");
}

const char *http_missing(enum http_kind kind)
{
	static const char *const what[] = {
		"build/examples/httpd", "build/examples/httpd", "the package nginx-light",
		"the package golang-go, then meson setup --reconfigure"
	};
	char path[4096];

	path_of(kind, path, sizeof(path));
	return access(path, X_OK) ? what[kind] : NULL;
}

/* One that was free a moment ago. */
static unsigned free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t sz = sizeof(a);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&a, sz) || getsockname(fd, (struct sockaddr *)&a, &sz))
		a.sin_port = 0;
	close(fd);
	return ntohs(a.sin_port);
}

static bool write_conf(unsigned port)
{
	unsigned files = http_nr_files();
	FILE *f = fopen(conf, "w");

	if (!f)
		return false;
	fprintf(f, nginx_conf, bench_nr_cpus(), files, dir, files - 50, dir, dir, dir, dir, dir,
		port, dir);
	return !fclose(f);
}

static void run(enum http_kind kind, unsigned port)
{
	char path[4096], number[16], www[80];
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(null, 0);
	dup2(null, 1);
	path_of(kind, path, sizeof(path));
	snprintf(number, sizeof(number), "%u", port);
	snprintf(www, sizeof(www), "%s/www", dir);
	if (kind == HTTP_UPCALL_SHARED)
		setenv("UPCALL_SHARED_TLS", "1", 1);
	if (kind == HTTP_NGINX)
		execl(path, "nginx", "-e", "stderr", "-p", dir, "-c", conf, (char *)NULL);
	else if (kind == HTTP_GO)
		execl(path, "http-go", number, www, (char *)NULL);
	else
		execl(path, "httpd", "--timeout", "600", "--port", number, www, (char *)NULL);
	_exit(127);
}

static bool answers(unsigned port)
{
	static const char ask[] = "GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = { 1, 0 };
	char buf[13];
	bool good;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	good = !connect(fd, (struct sockaddr *)&a, sizeof(a)) &&
	       send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) > 0 &&
	       recv(fd, buf, sizeof(buf), MSG_WAITALL) == sizeof(buf) &&
	       !memcmp(buf, "HTTP/1.1 200 ", 13);
	close(fd);
	return good;
}

bool http_start(struct http_server *s, enum http_kind kind)
{
	double until = bench_now_ns() + START_S * 1e9;

	s->kind = kind;
	s->port = free_port();
	if (kind == HTTP_NGINX && !write_conf(s->port))
		return false;
	fflush(NULL);
	s->pid = fork();
	if (!s->pid)
		run(kind, s->port);
	while (s->pid > 0 && bench_now_ns() < until && !waitpid(s->pid, NULL, WNOHANG)) {
		if (answers(s->port))
			return true;
		usleep(5000);
	}
	fprintf(stderr, "%s does not answer\n", http_name(kind));
	if (s->pid > 0)
		http_stop(s);
	return false;
}

void http_stop(struct http_server *s)
{
	double until = bench_now_ns() + STOP_S * 1e9;

	kill(s->pid, SIGTERM);
	while (!waitpid(s->pid, NULL, WNOHANG)) {
		if (bench_now_ns() > until)
			kill(s->pid, SIGKILL);
		usleep(2000);
	}
}

/* ---- what they use ---- */

/* The server and its children. */
static unsigned processes(const struct http_server *s, pid_t *pids)
{
	unsigned nr = 1;
	char path[80];
	FILE *f;

	pids[0] = s->pid;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)s->pid, (int)s->pid);
	f = fopen(path, "r");
	while (f && nr < PROCESSES_MAX && fscanf(f, "%d", &pids[nr]) == 1)
		nr++;
	if (f)
		fclose(f);
	return nr;
}

double http_cpu_ns(const struct http_server *s)
{
	pid_t pids[PROCESSES_MAX];
	unsigned nr = processes(s, pids);
	struct timespec ts;
	double sum = 0;
	clockid_t clock;

	while (nr--)
		if (!clock_getcpuclockid(pids[nr], &clock) && !clock_gettime(clock, &ts))
			sum += (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
	return sum;
}

double http_memory(const struct http_server *s)
{
	pid_t pids[PROCESSES_MAX];
	unsigned nr = processes(s, pids);
	unsigned long kb;
	double sum = 0;
	char text[128];
	FILE *f;

	while (nr--) {
		snprintf(text, sizeof(text), "/proc/%d/status", (int)pids[nr]);
		f = fopen(text, "r");
		while (f && fgets(text, sizeof(text), f))
			if (sscanf(text, "RssAnon: %lu", &kb) == 1)
				sum += (double)kb * 1024;
		if (f)
			fclose(f);
	}
	return sum;
}
