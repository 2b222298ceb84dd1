/* SPDX-License-Identifier: MIT */
/*
 * Grant, start, request and yield: the kernel side, a vcore that makes work ready while its own
 * uthread runs on, and two others that are started, look for work, and give their cores back.  Each
 * stores through a buffer: stores become visible in order and late, loads overtake them; what is
 * locked waits for its own buffer.  The kernel side is another process here, whose answers are plain
 * stores: one that is embedded drops its lock by an exchange, and shows less.
 * Claims: who is started finds its map; work that was made ready is done while a core is free for it;
 * a vcore that is offline runs nothing.
 * Broken on purpose: READY_FENCE_DROPPED (work is queued, and who is idle looked at before that is
 * seen), IDLE_SAID_LATE (after the last look for work), FIRST_IDLE_MARKED (online or not), REQUEST_SKIPPED
 * (as many seem to be online as are wanted), WANTED_RUNG_FIRST (the call before its words),
 * PENDING_IGNORED (a yield does not look at it), PENDING_CLEARED_LATE (after the look for work),
 * STARTS_EARLY (before the map), GATE_RUNG_FIRST (before the start is seen), GATE_SEEN_LATE (read after
 * the start was looked for).
 */
#define MAKER	0
#define VCORES	3
#define KERN	VCORES
#define NOTHING 0
#define REQUEST 1
#define YIELD	2
#define OK	1
#define REFUSED 2

/* Shared words. */
#define WANTED	   0
#define NUM	   1
#define NR_IDLE	   2
#define IDLE(v)	   (2 + (v))
#define PENDING(v) (4 + (v))
#define VALID(v)   (6 + (v)) /* of 1 and 2, as those before */
#define STARTS(v)  (8 + (v))
#define ACK(t)	   (11 + (t))
#define WORK(i)	   (14 + (i))

byte mem[14 + ITEMS];
chan buf[VCORES + 1] = [6] of { byte, byte };
byte call[VCORES];  /* pending bits and what is asked: by a locked instruction */
bool bell[VCORES];  /* the gate was opened since it was last read */
bool due[VCORES];   /* a gate is to be opened */

/* The kernel side's own record. */
byte cores = CORES; /* that this process may have */
byte losses = LOSSES;
byte wanted = TARGET;
byte nr_online = 1;
bool online[VCORES];
byte starts[VCORES];
byte gen;
byte seen_gen[VCORES];

byte done;

#define fence(t)	    empty(buf[t])
#define store(t, addr, val) buf[t]!addr, val
#define can_start(v)	    (!online[v] && !due[v])
#define few		    (nr_online < wanted && nr_online < cores)

inline come_out(t)
{
	buf[t]?addr, val;
	mem[addr] = val;
	addr = 0;
	val = 0
}

/* What is in a buffer comes out, some time. */
proctype stores()
{
	byte addr, val;

end:	do
	:: d_step { nempty(buf[0]) -> come_out(0) }
	:: d_step { nempty(buf[1]) -> come_out(1) }
	:: d_step { nempty(buf[2]) -> come_out(2) }
	:: d_step { nempty(buf[KERN]) -> come_out(KERN) }
	od
}

inline start(v)
{
	online[v] = true;
	nr_online++;
	seen_gen[v] = gen;
	starts[v]++;
	due[v] = true;
#ifdef STARTS_EARLY
	store(KERN, STARTS(v), starts[v]);
#endif
	store(KERN, VALID(v), 1);
	store(KERN, NUM, nr_online);
#ifndef STARTS_EARLY
	store(KERN, STARTS(v), starts[v])
#endif
}

/* One call after the other, grants in between: which vcore comes first is left open, as is when another
 * process gets a core. */
proctype kernel()
{
	byte t, w;

end:	do
	:: atomic { call[MAKER] == REQUEST && few == 0 -> call[MAKER] = NOTHING;
		    w = mem[WANTED];
		    if
		    :: w > wanted -> gen++; seen_gen[MAKER] = gen
		    :: else
		    fi;
		    wanted = w;
		    w = 0;
		    store(KERN, ACK(MAKER), OK) }
	:: atomic { call[1] == YIELD && few == 0 -> t = 1 }; goto yield;
	:: atomic { call[2] == YIELD && few == 0 -> t = 2 }; goto yield;
	:: atomic { few && can_start(1) -> start(1) }
	:: atomic { few && can_start(2) -> start(2) }
	:: atomic { losses && cores > 2 && cores > nr_online -> losses--; cores-- }
#ifdef GATE_RUNG_FIRST
	:: atomic { due[1] -> due[1] = false; bell[1] = true }
	:: atomic { due[2] -> due[2] = false; bell[2] = true }
#else
	:: atomic { due[1] && fence(KERN) -> due[1] = false; bell[1] = true }
	:: atomic { due[2] && fence(KERN) -> due[2] = false; bell[2] = true }
#endif
	od;
yield:
	atomic {
		call[t] = NOTHING;
		if
		:: seen_gen[t] != gen -> seen_gen[t] = gen; store(KERN, ACK(t), REFUSED)
		:: seen_gen[t] == gen ->
			if
#ifndef PENDING_IGNORED
			:: mem[PENDING(t)] == 1 -> store(KERN, ACK(t), REFUSED)
			:: mem[PENDING(t)] == 0 ->
#else
			:: true ->
#endif
				wanted = (wanted < nr_online -> wanted : nr_online) - 1;
				online[t] = false;
				nr_online--;
				store(KERN, VALID(t), 0);
				store(KERN, NUM, nr_online);
				store(KERN, ACK(t), OK)
			fi
		fi;
		t = 0 };
	goto end
}

/* Makes work ready, then runs on without ever looking for some. */
proctype maker()
{
	byte i, n;

	for (i : 0 .. ITEMS - 1) {
		store(MAKER, WORK(i), 1);
#ifndef READY_FENCE_DROPPED
		fence(MAKER);
#endif
		if
		:: mem[NR_IDLE] == 0 -> goto next
		:: else
		fi;
#ifdef FIRST_IDLE_MARKED
		if
		:: mem[IDLE(1)] == 1 -> atomic { fence(MAKER) -> mem[PENDING(1)] = 1 }
		:: mem[IDLE(1)] == 0 ->
			if
			:: mem[IDLE(2)] == 1 -> atomic { fence(MAKER) -> mem[PENDING(2)] = 1 }
			:: mem[IDLE(2)] == 0
			fi
		fi;
#else
		if
		:: mem[IDLE(1)] == 1 && mem[VALID(1)] == 1 ->
			atomic { fence(MAKER) -> mem[PENDING(1)] = 1 }
		:: mem[IDLE(1)] == 0 || mem[VALID(1)] == 0
		fi;
		if
		:: mem[IDLE(2)] == 1 && mem[VALID(2)] == 1 ->
			atomic { fence(MAKER) -> mem[PENDING(2)] = 1 }
		:: mem[IDLE(2)] == 0 || mem[VALID(2)] == 0
		fi;
#endif
		n = (mem[NUM] + 1 < TARGET -> mem[NUM] + 1 : TARGET);
#ifdef REQUEST_SKIPPED
		if
		:: mem[NUM] >= TARGET -> goto next
		:: mem[NUM] < TARGET
		fi;
#endif
		mem[ACK(MAKER)] = NOTHING;
#ifdef WANTED_RUNG_FIRST
		atomic { fence(MAKER) -> call[MAKER] = REQUEST };
		store(MAKER, WANTED, n);
#else
		store(MAKER, WANTED, n);
		atomic { fence(MAKER) -> call[MAKER] = REQUEST };
#endif
		mem[ACK(MAKER)] != NOTHING;
next:		n = 0
	}
	done == ITEMS /* or this is where it ends */
}

inline look()
{
	if
	:: mem[WORK(0)] == 1 -> atomic { fence(me) -> found = mem[WORK(0)]; mem[WORK(0)] = 0 }
	:: mem[WORK(0)] == 0 ->
#if ITEMS > 1
		if
		:: mem[WORK(1)] == 1 ->
			atomic { fence(me) -> found = mem[WORK(1)]; mem[WORK(1)] = 0 }
		:: mem[WORK(1)] == 0
		fi
#else
		skip
#endif
	fi
}

inline say_idle()
{
	if
	:: idle
	:: !idle -> store(me, IDLE(me), 1);
		atomic { fence(me) -> mem[NR_IDLE] = mem[NR_IDLE] + 1; idle = true }
	fi
}

proctype vcore(byte me; bool idle)
{
	byte seen;
	bool found;

gate:
#ifdef GATE_SEEN_LATE
	if
	:: mem[STARTS(me)] != seen -> goto started
	:: mem[STARTS(me)] == seen -> bell[me] = false
	fi;
#else
	bell[me] = false;
	if
	:: mem[STARTS(me)] != seen -> goto started
	:: mem[STARTS(me)] == seen
	fi;
#endif
end:	bell[me];
	goto gate;
started:
	atomic { seen = mem[STARTS(me)]; assert(mem[VALID(me)] == 1 && online[me]) };
	/* Pending is set, to look once at least, and cleared again by an exchange. */
	atomic { fence(me) -> mem[PENDING(me)] = 0 };
loop:
#ifndef PENDING_CLEARED_LATE
	if
	:: mem[PENDING(me)] == 1 -> atomic { fence(me) -> mem[PENDING(me)] = 0 }
	:: mem[PENDING(me)] == 0
	fi;
#endif
	look();
	if
	:: found -> goto works
	:: !found
	fi;
#ifdef IDLE_SAID_LATE
	look();
	say_idle();
#else
	say_idle();
	look();
#endif
	if
	:: found -> goto works
	:: !found
	fi;
#ifdef PENDING_CLEARED_LATE
	atomic { fence(me) -> mem[PENDING(me)] = 0 };
#else
	if
	:: mem[PENDING(me)] == 1 -> goto loop
	:: mem[PENDING(me)] == 0
	fi;
#endif
	mem[ACK(me)] = NOTHING;
	atomic { fence(me) -> call[me] = YIELD };
	if
	:: mem[ACK(me)] == REFUSED -> goto loop
	:: mem[ACK(me)] == OK -> goto gate
	fi;
works:
	if
	:: idle -> store(me, IDLE(me), 0);
		atomic { fence(me) -> mem[NR_IDLE] = mem[NR_IDLE] - 1; idle = false }
	:: !idle
	fi;
	atomic { found = false; assert(online[me]); done++ };
	goto loop
}

init
{
	atomic {
		mem[NUM] = 1;
		run stores();
		run kernel();
		run maker();
		mem[NR_IDLE] = BEFORE; /* one has been online and gone, or none */
		mem[IDLE(1)] = BEFORE;
		run vcore(1, BEFORE);
		run vcore(2, 0)
	}
}
