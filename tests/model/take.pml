/* SPDX-License-Identifier: MIT */
/*
 * A core is taken: the kernel side publishes it, then interrupts the activation if that runs a uthread;
 * the vcore looks on its way through vcore context, and leaves.  Each side stores through a buffer:
 * stores become visible in order and late, loads overtake them; what is locked, and a signal, wait for
 * their own.  The uthread never gives way by itself once its turns are over, and may be in a section.
 * Nothing looks at the flag once more behind the exchange that enters uthread context, as notif_pending
 * is looked at: a take that falls in between is the lookout's, which tells until it is obeyed.
 * Claims: who is interrupted for a take finds the flag; one that the lookout interrupts does not put it
 * off; every take is obeyed, once.
 * Broken on purpose: SIGNAL_FIRST (before the flag is seen), TAKE_NOT_ENFORCED (no lookout),
 * FREEZE_UNSAID (the lookout only interrupts, which a section puts off), FREEZE_SAID_LATE (after the
 * signal).
 */
#define KERN	0
#define VCORE	1
#define LOOKOUT 2

#define TAKE	0
#define RUN	1 /* 1: a uthread runs */
#define FREEZE	2

byte mem[3];
chan buf[3] = [4] of { byte, byte };
bool signal;  /* on its way */
bool for_take; /* the kernel side's own: it saw a uthread run */
bool enforced; /* the lookout's */
bool left;
byte turns = TURNS;
byte strays = STRAYS; /* signals for other reasons */

#define fence(t)	    empty(buf[t])
#define store(t, addr, val) buf[t]!addr, val

/* What is in a buffer comes out, some time. */
active proctype stores()
{
	byte addr, val, t;

end:	do
	:: d_step { nempty(buf[KERN]) -> buf[KERN]?addr, val; mem[addr] = val; addr = 0; val = 0 }
	:: d_step { nempty(buf[VCORE]) -> buf[VCORE]?addr, val; mem[addr] = val; addr = 0; val = 0 }
	:: d_step { nempty(buf[LOOKOUT]) ->
			buf[LOOKOUT]?addr, val; mem[addr] = val; addr = 0; val = 0 }
	od
}

active proctype kernel()
{
	bool runs;

#ifndef SIGNAL_FIRST
	store(KERN, TAKE, 1);
	fence(KERN); /* the lock is dropped, by exchange, before effects are performed */
#endif
	runs = mem[RUN];
	if
	:: runs -> atomic { signal = true; for_take = true }
	:: !runs
	fi;
#ifdef SIGNAL_FIRST
	store(KERN, TAKE, 1);
	fence(KERN);
#endif
	left /* or it has not been obeyed */
}

active proctype lookout()
{
end:	do
	:: strays -> atomic { strays--; signal = true }
#ifndef TAKE_NOT_ENFORCED
	:: mem[TAKE] == 1 && !signal && !left ->
#if !defined(FREEZE_UNSAID) && !defined(FREEZE_SAID_LATE)
		store(LOOKOUT, FREEZE, 1);
#endif
		atomic { fence(LOOKOUT) -> signal = true; enforced = true }
#ifdef FREEZE_SAID_LATE
		store(LOOKOUT, FREEZE, 1)
#endif
#endif
	od
}

active proctype vcore()
{
	bool section, told, hard;

context:
	/* In vcore context a signal is dropped. */
	if
	:: mem[TAKE] == 1 -> goto leave
	:: mem[TAKE] == 0
	fi;
	assert(!told);
	if
	:: atomic { signal -> signal = false; for_take = false; enforced = false }
	:: skip
	fi;
	atomic { fence(VCORE) -> mem[RUN] = 1;
		 if
		 :: section = true
		 :: section = false
		 fi };
uthread:
end:	if
	:: atomic { signal -> signal = false; told = for_take; for_take = false;
			    hard = enforced; enforced = false };
		if
		:: !section || (mem[FREEZE] == 1 && mem[TAKE] == 1) ->
			hard = false;
			if
			:: section -> store(VCORE, FREEZE, 0)
			:: !section
			fi;
			atomic { fence(VCORE) -> mem[RUN] = 0 };
			goto context
		:: section && (mem[FREEZE] == 0 || mem[TAKE] == 0) ->
			assert(!hard);
			told = false;
			goto uthread
		fi
	:: turns -> turns--; atomic { fence(VCORE) -> mem[RUN] = 0 }; goto context
	fi;
leave:
	assert(mem[TAKE] == 1 && !left);
	left = true
}
