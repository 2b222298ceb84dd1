/* SPDX-License-Identifier: MIT */
/*
 * What travels by message between a process and a kernel side in another one: the greeting, with
 * which three descriptors come (procinfo, procdata, the bell), and then the few things that are
 * not words in shared memory.  One SOCK_SEQPACKET datagram each, fixed sizes, host byte order.
 * The connection itself says that the other side lives.
 */
#ifndef UP_HOST_WIRE_H
#define UP_HOST_WIRE_H

#include <stdint.h>

#include "base/bug.h"

#define UP_WIRE_MAGIC 0x6c6c616370750001ull

/* process -> kernel side, once */
struct up_wire_hello {
	uint64_t magic;
	uint32_t version; /* UPABI_VERSION */
	uint32_t max_vcores;
	uint32_t max_acts;
	uint32_t mechanisms;
	uint32_t signal; /* by which activations are interrupted */
	uint32_t standby;
};
UP_STATIC_ASSERT(sizeof(struct up_wire_hello) == 32, "hello has another size");

/* kernel side -> process, once */
struct up_wire_welcome {
	uint64_t magic;
	uint32_t version;
	int32_t result; /* 0, and the descriptors come along; or -errno, and nothing does */
};
UP_STATIC_ASSERT(sizeof(struct up_wire_welcome) == 16, "welcome has another size");

enum up_wire_fd {
	UP_WIRE_FD_INFO,
	UP_WIRE_FD_DATA,
	UP_WIRE_FD_BELL, /* an eventfd: the process only writes it, the kernel side never reads it */
	UP_WIRE_FD_NR,
};

enum up_wire_op {
	UP_WIRE_WANT_ACT = 1, /* arg: so many activations more are needed */
	UP_WIRE_DROP_ACT = 2, /* act: its task may end */
	UP_WIRE_STANDBY = 3,  /* act now stands by for vcore */
	UP_WIRE_KILL = 4,     /* the process is to end */
	UP_WIRE_RESYNC = 5,   /* messages were lost, since nobody read them: look at the maps */
};

/* kernel side -> process */
struct up_wire_msg {
	uint32_t op;
	uint32_t act;
	uint32_t gen;
	uint32_t vcore;
	uint64_t arg;
};
UP_STATIC_ASSERT(sizeof(struct up_wire_msg) == 24, "message has another size");

#endif
