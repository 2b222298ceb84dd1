/* SPDX-License-Identifier: MIT */
/*
 * Block and unblock outside the kernel side's lock: one vcore, two activations, one uthread that
 * blocks, the watcher and the keeper that may both find it, a kernel side that may refuse, another
 * vcore that may run the uthread to its end, and a stop.  Each thread stores through a buffer: stores
 * become visible in order and late, loads overtake them; what is locked waits for its own buffer.
 * The kernel side's lock is such a word too: what it has published is out when the next one gets it.
 * A hand-over word never comes back to an earlier value, so its sequence number is kept as what it is
 * for: who has looked since it last changed.
 * Claims: the vcore is run by one activation at most, and the uthread too; UNBLOCKED never comes
 * before BLOCKED; a block that only ends when somebody else has run ends; all end after a stop, with
 * nobody on the core.
 * Broken on purpose: PARK_FENCE_DROPPED, PARKED_NOT_LOOKED (the watcher sleeps though a uthread runs),
 * STEAL_WITHOUT_CAS, SEQUENCE_KEPT (a return does not outdate looks), NOT_LOOKED_AGAIN (the way home
 * is laid for one that has left), TOLD_BEFORE_CALL (UNBLOCKED may go ahead), STARTS_EARLY (published
 * before the state), RUNG_FIRST (the gate before the reason), TAKEOVER_ENDS_UNSAID (the victim waits
 * on), QUIT_READ_FIRST (before the gate, which is then read as open and waited at).
 */
#define ACTS	2
#define WATCHER ACTS
#define KEEPER	(ACTS + 1)
#define OTHERS	(ACTS + 2)
#define NONE	9

/* The hand-over word's states, vcore context and the gate being the same to who looks; the kernel
 * side's of an activation; up_act.reported. */
#define AWAY	 0
#define UTHREAD	 1
#define STOLEN	 2
#define POOLED	 0
#define RUNNING	 1
#define BLOCKED	 2
#define NOT_YET	 0
#define REPORTED 1
#define REFUSED	 2

/* Shared words. */
#define WACT	    0
#define PARKED	    1
#define STANDBY	    2
#define LOCK	    3
#define RUN(a)	    (4 + (a))
#define CALL(a)	    (6 + (a))
#define SECTION(a)  (8 + (a))
#define STATE(a)    (10 + (a))
#define STARTS(a)   (12 + (a))
#define TAKEOVER(a) (14 + (a)) /* its victim, and one */
#define TOLD(a)	    (16 + (a))

byte mem[18];
chan buf[ACTS + 3] = [8] of { byte, byte };
bool bell[ACTS]; /* the gate was opened since it was last read */
byte looked[ACTS]; /* by stealer: it holds the word's present value */

/* The kernel side's own record, under its lock. */
byte k[ACTS];
byte act = NONE;
byte standby = NONE;
byte starts[ACTS];
bool message;

/* What is true, whoever knows it. */
byte core = NONE; /* who runs the vcore's instructions */
byte user = NONE; /* who runs the uthread, or has it on its stack */
bool asleep[ACTS];
bool needy;  /* the block ends only when somebody else has run */
bool ready;  /* the uthread, with the scheduler */
bool over;   /* the uthread has ended */
bool quit_helpers, quit_acts;
byte blocks = BLOCKS;
byte looks = LOOKS;
byte grants = GRANTS;
byte thefts = THEFTS;
byte refusals = REFUSALS;
byte yields = YIELDS;
byte joined, gone;

#define fence(t)	    empty(buf[t])
#define store(t, addr, val) buf[t]!addr, val

/* Each change outdates what stealers have seen. */
inline set_run(a, to)
{
	mem[RUN(a)] = to;
	looked[a] = 0
}

inline enter()
{
	assert(core == NONE);
	core = me
}

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
	:: d_step { nempty(buf[WATCHER]) -> come_out(WATCHER) }
	:: d_step { nempty(buf[KEEPER]) -> come_out(KEEPER) }
	:: d_step { nempty(buf[OTHERS]) -> come_out(OTHERS) }
	od
}

/* ---- calls into the kernel side: within atomic, from lock to unlock ---- */

#define can_lock(t) (fence(t) && mem[LOCK] == 0)
#define lock()	    mem[LOCK] = 1
#define unlock(t)   store(t, LOCK, 0)

inline choose_standby(t)
{
	standby = NONE;
	if
	:: act != NONE && k[0] == POOLED -> standby = 0
	:: act != NONE && k[1] == POOLED -> standby = 1
	:: else
	fi;
	store(t, STANDBY, standby)
}

inline start(t, a)
{
	k[a] = RUNNING;
	act = a;
	starts[a]++;
#ifdef STARTS_EARLY
	store(t, STARTS(a), starts[a]);
	store(t, STATE(a), RUNNING);
#else
	store(t, STATE(a), RUNNING);
	store(t, STARTS(a), starts[a]);
#endif
	choose_standby(t)
}

/* ---- activations ---- */

inline tell(victim, what)
{
	atomic { fence(me) ->
		 assert(mem[TOLD(victim)] == NOT_YET);
		 mem[TOLD(victim)] = what;
		 if
		 :: what == REFUSED -> needy = false
		 :: else
		 fi }
}

proctype activation(byte me)
{
	byte v = 0, seen = 0;
	bool mine = false, refused = false;

again:
#ifdef QUIT_READ_FIRST
	if
	:: quit_acts -> goto ended
	:: !quit_acts -> bell[me] = false
	fi;
#else
	atomic { bell[me] = false; /* before any reason is read */
		 if
		 :: quit_acts -> goto ended
		 :: !quit_acts
		 fi };
#endif
	atomic { fence(me) -> v = mem[TAKEOVER(me)]; mem[TAKEOVER(me)] = 0 };
	if
	:: v ->
		v--;
#ifdef TOLD_BEFORE_CALL
		tell(v, REPORTED);
#endif
		atomic { can_lock(me) -> lock();
			if
			:: refusals -> refusals--; refused = true
			:: k[me] == POOLED && act == v ->
				k[v] = BLOCKED;
				k[me] = RUNNING;
				act = me;
				store(me, STATE(me), RUNNING);
				choose_standby(me)
			fi;
			unlock(me) };
#ifndef TOLD_BEFORE_CALL
		tell(v, (refused -> REFUSED : REPORTED));
#endif
		atomic { v = 0;
			if
			:: refused -> refused = false; goto again
			:: else -> goto run_vcore
			fi }
	:: else
	fi;
	if
	:: mem[STARTS(me)] == seen -> bell[me]
	:: atomic { mem[STARTS(me)] != seen -> seen = mem[STARTS(me)] };
		if
		:: mem[STATE(me)] == RUNNING -> goto run_vcore
		:: mem[STATE(me)] != RUNNING
		fi
	fi;
	goto again;
run_vcore:
		atomic { enter(); needy = false; store(me, WACT, me) };
loop:
		if
		:: mem[PARKED] == 0
		:: mem[PARKED] == 1 -> atomic { fence(me) -> mem[PARKED] = 0 }
		fi;
		if
		:: atomic { mine || ready -> message = false;
			    if
			    :: mine
			    :: !mine -> ready = false; mine = true; assert(user == NONE); user = me
			    fi }
		:: atomic { !mine && !ready && message -> message = false; goto loop }
		:: !mine && !ready && !message && (over || yields) ->
			atomic { can_lock(me) -> lock();
				assert(act == me && k[me] == RUNNING);
				if
				:: message -> refused = true
				:: else ->
					refused = false;
					yields = (yields -> yields - 1 : 0);
					k[me] = POOLED;
					act = NONE;
					standby = NONE;
					store(me, STATE(me), POOLED);
					store(me, STANDBY, NONE);
					core = NONE
				fi;
				unlock(me) };
			if
			:: atomic { refused -> refused = false; goto loop }
			:: else -> goto again
			fi
		fi;
		/* Out of vcore context: one exchange, then a look whether the watcher sleeps. */
		atomic { fence(me) -> set_run(me, UTHREAD) };
#ifndef PARKED_NOT_LOOKED
		if
		:: mem[PARKED] == 0
		:: mem[PARKED] == 1 ->
			atomic { fence(me) -> assert(mem[RUN(me)] == UTHREAD); set_run(me, AWAY) };
			goto loop
		fi;
#endif
uthread:
		atomic {
			if
			:: blocks -> blocks--;
				if
				:: needy = true
				:: skip
				fi;
				if
				:: store(me, CALL(me), 1); core = NONE; goto announced
				:: goto unannounced
				fi
			:: !blocks && fence(me) ->
				assert(mem[RUN(me)] == UTHREAD);
				set_run(me, AWAY);
				mine = false;
				user = NONE;
				over = true;
				goto loop
			fi };
announced:
		if
		:: d_step { fence(me) -> asleep[me] = true };
			atomic { !needy -> asleep[me] = false; store(me, CALL(me), 0) }
		:: atomic { !needy -> store(me, CALL(me), 0) }
		fi;
		goto ours;
unannounced:
		atomic { fence(me) -> core = NONE; asleep[me] = true };
		if
		:: atomic { !needy && mem[SECTION(me)] == 0 -> asleep[me] = false; enter() };
			goto uthread
		:: atomic { !needy && mem[SECTION(me)] == 1 ->
				asleep[me] = false; mem[SECTION(me)] = 0 }
		fi;
ours:
		atomic { fence(me) ->
			if
			:: mem[RUN(me)] == UTHREAD ->
#ifndef SEQUENCE_KEPT
				looked[me] = 0;
#endif
				enter();
				goto uthread
			:: else -> assert(mem[RUN(me)] == STOLEN); set_run(me, AWAY)
			fi };
		/* Replaced. */
		atomic { mine = false; assert(user == me); user = NONE; ready = true };
		atomic { mem[TOLD(me)] != NOT_YET -> refused = mem[TOLD(me)] == REFUSED;
			 store(me, TOLD(me), NOT_YET) };
		if
		:: atomic { refused && mem[STATE(me)] == RUNNING && mem[STARTS(me)] == seen ->
				refused = false; goto run_vcore }
		:: atomic { refused && (mem[STATE(me)] != RUNNING || mem[STARTS(me)] != seen) ->
				refused = false }
		:: !refused ->
			atomic { can_lock(me) -> lock();
				assert(k[me] == BLOCKED);
				k[me] = POOLED;
				message = true;
				store(me, STATE(me), POOLED);
				if
				:: act == NONE && !over -> start(me, me); v = 1
				:: act != NONE && standby == NONE -> choose_standby(me); v = 2
				:: else
				fi;
				unlock(me) };
			if
			:: v == 1 -> atomic { fence(me) -> bell[me] = true; v = 0 }
			:: v == 2 -> atomic { fence(me) -> mem[PARKED] = 0; v = 0 }
			:: v == 0
			fi
		fi;
	goto again;
ended:	/* It ends, but not without a word to whom it was to replace. */
	atomic { fence(me) -> v = mem[TAKEOVER(me)]; mem[TAKEOVER(me)] = 0 };
#ifndef TAKEOVER_ENDS_UNSAID
	if
	:: v -> v--; tell(v, REFUSED); v = 0
	:: else
	fi;
#endif
	gone++
}

/* ---- stealers ---- */

#define STOLE	   1
#define NO_STANDBY 2
#define NOT_THERE  3

/* As up_watch_look(): `here` on the vcore's core, where an announced call is all that is asked. */
inline look(here)
{
	atomic { a = mem[WACT]; r = 0 };
	if
	:: atomic { a != NONE && mem[RUN(a)] == UTHREAD -> looked[a] = looked[a] | mark };
		announced = mem[CALL(a)];
		if
		:: (here && announced) || (fence(t) && asleep[a]) ->
			b = mem[STANDBY];
			if
			:: b == NONE -> r = NO_STANDBY
			:: b != NONE && !announced ->
				store(t, SECTION(a), 1);
#ifndef NOT_LOOKED_AGAIN
				if
				:: fence(t) && asleep[a] -> r = STOLE
				:: fence(t) && !asleep[a]
				fi
#else
				r = STOLE
#endif
			:: b != NONE && announced -> r = STOLE
			fi
		:: !(here && announced) && fence(t) && !asleep[a]
		fi;
		if
		:: r == STOLE ->
			atomic { fence(t) ->
				if
#ifdef STEAL_WITHOUT_CAS
				:: true ->
#else
				:: looked[a] & mark -> assert(mem[RUN(a)] == UTHREAD);
#endif
					set_run(a, STOLEN);
#ifdef RUNG_FIRST
					bell[b] = true;
#endif
					skip
#ifndef STEAL_WITHOUT_CAS
				:: else -> r = 0
#endif
				fi };
			if
			:: r == STOLE ->
				atomic { fence(t) -> assert(mem[TAKEOVER(b)] == 0); mem[TAKEOVER(b)] = a + 1 };
#ifndef RUNG_FIRST
				bell[b] = true
#endif
			:: else
			fi
		:: else
		fi;
	:: atomic { a == NONE || mem[RUN(a)] != UTHREAD -> r = NOT_THERE }
	fi;
	d_step {
		if
		:: a != NONE -> looked[a] = looked[a] & ~mark
		:: else
		fi;
		a = NONE; b = NONE; announced = false }
}

proctype watcher()
{
	byte t = WATCHER, mark = 1, a = NONE, b = NONE, r;
	bool announced;

	do
	:: quit_helpers -> break
	:: !quit_helpers ->
		look(true);
		if
		:: r == NO_STANDBY ->
				store(t, PARKED, 1);
				fence(t);
				if
				:: mem[STANDBY] == NONE -> mem[PARKED] == 0 || quit_helpers
				:: mem[STANDBY] != NONE
				fi;
				store(t, PARKED, 0)
		:: r == NOT_THERE ->
			store(t, PARKED, 1);
#ifndef PARK_FENCE_DROPPED
			fence(t);
#endif
			a = mem[WACT];
			if
			:: a != NONE && mem[RUN(a)] == UTHREAD ->
				store(t, PARKED, 0)
			:: a == NONE || mem[RUN(a)] != UTHREAD ->
				fence(t) && (mem[PARKED] == 0 || quit_helpers)
			fi
		:: else
		fi;
		d_step { a = NONE; r = 0 }
	od;
	joined++
}

proctype keeper()
{
	byte t = KEEPER, mark = 2, a = NONE, b = NONE, r;
	bool announced;

	do
	:: quit_helpers -> break
	:: !quit_helpers && looks -> looks--; look(false); r = 0
	od;
	joined++
}

/* Another vcore may find work for this one, or run the uthread to its end; then all is stopped. */
proctype others()
{
	byte a;

	do
	:: atomic { !over && grants && act == NONE && can_lock(OTHERS) ->
			lock();
			grants--;
			if
			:: k[0] == POOLED -> a = 0
			:: k[1] == POOLED -> a = 1
			fi;
			start(OTHERS, a);
			unlock(OTHERS) };
		atomic { fence(OTHERS) -> bell[a] = true; a = 0 }
	:: atomic { ready && thefts -> thefts--; ready = false; over = true }
	:: over -> break
	od;
	quit_helpers = true;
	mem[PARKED] = 0; /* by an exchange, as all that arms */
	joined == 2;
	atomic { quit_acts = true; bell[0] = true; bell[1] = true };
	gone == ACTS;
	assert(core == NONE && user == NONE)
}

init
{
	atomic {
		mem[WACT] = NONE;
		mem[STANDBY] = 1;
		mem[STATE(0)] = RUNNING;
		mem[STARTS(0)] = 1;
		k[0] = RUNNING;
		act = 0;
		standby = 1;
		starts[0] = 1;
		ready = true;
		run stores();
		run watcher();
		run keeper();
		run others();
		run activation(0);
		run activation(1)
	}
}
