/* SPDX-License-Identifier: MIT */
/*
 * Who is told to take a vcore over: one vcore, three activations, of which one runs it, one stands by
 * and one is free; whoever comes back from a block may stand by in the other's place, ready to run, and
 * steal for itself while the watcher is at it; the kernel side may start a free one elsewhere, or drop
 * it, between a stealer's look at who stands by and its word.  The gates are those of handover.pml.
 * What an activation stores when it is free again comes out late; all else that is written here is
 * locked.
 * What is not found comes back by itself: that all is found is handover.pml's to say.
 * Claims: nobody is told who has left its gate, and nobody twice; whoever was taken for blocked is
 * told, given back or replaced, so that all end; the vcore is run by one at a time.
 * Broken on purpose: TOLD_TWICE (a store for the exchange that tells), BUSY_UNSAID (a start is taken up
 * and the word left open), ENDS_OPEN (the same at its end), NOT_GIVEN_BACK (nobody could be told, and
 * the victim stays taken).
 */
#define ACTS 3
#define NONE 9
#define BUSY 8

/* The hand-over word's states; the kernel side's of an activation; up_act.reported. */
#define AWAY	 0
#define UTHREAD	 1
#define STOLEN	 2
#define POOLED	 0
#define RUNNING	 1
#define BLOCKED	 2
#define DROPPED	 3
#define NOT_YET	 0
#define REPORTED 1
#define REFUSED	 2

byte word[ACTS];
byte looked[ACTS]; /* by stealer: it holds the word's present value */
byte takeover[ACTS];
bool opened[ACTS]; /* NONE is in the activation's store buffer */
byte told[ACTS];
bool asleep[ACTS];

byte k[ACTS];
bool started[ACTS]; /* on the other vcore, and not collected */
byte act, standby = NONE, other = NONE;
byte core = NONE; /* who runs the vcore's instructions */
byte blocks = BLOCKS, looks = LOOKS, starts = STARTS, drops = DROPS;
bool over; /* the vcore is given up for good */
byte gone;

inline set_run(a, to)
{
	word[a] = to;
	looked[a] = 0
}

inline choose_standby()
{
	standby = NONE;
	if
	:: act != NONE && k[0] == POOLED -> standby = 0
	:: act != NONE && k[1] == POOLED -> standby = 1
	:: act != NONE && k[2] == POOLED -> standby = 2
	:: else
	fi
}

/* It is taken for blocked no more, or told so. */
inline give_back(a)
{
#ifndef NOT_GIVEN_BACK
	atomic {
		if
		:: word[a] == STOLEN && k[a] == RUNNING && act == a -> set_run(a, UTHREAD)
		:: else -> assert(told[a] == NOT_YET); told[a] = REFUSED
		fi }
#else
	skip
#endif
}

inline hand_over(a, b)
{
	atomic {
		if
#ifdef TOLD_TWICE
		:: takeover[b] = a; got = true
#else
		:: takeover[b] == NONE -> takeover[b] = a; got = true
		:: takeover[b] != NONE -> got = false
#endif
		fi };
	if
	:: !got -> give_back(a)
	:: got
	fi;
	got = false
}

/* As up_watch_look(), by a thread of the vcore's core. */
inline look(mark)
{
	atomic {
		v = act;
		if
		:: v != NONE && word[v] == UTHREAD && asleep[v] -> looked[v] = looked[v] | mark
		:: else -> v = NONE
		fi };
	if
	:: v != NONE ->
		b = standby;
		if
		:: b != NONE ->
			atomic {
				if
				:: looked[v] & mark -> assert(word[v] == UTHREAD); set_run(v, STOLEN); got = true
				:: else
				fi };
			if
			:: got -> got = false; hand_over(v, b)
			:: else
			fi
		:: else
		fi;
		d_step { looked[v] = looked[v] & ~mark; b = NONE; v = NONE }
	:: else
	fi
}

proctype activation(byte me)
{
	byte v = NONE, b = NONE;
	bool got;

	if
	:: me == 0 -> goto run_vcore
	:: else
	fi;
again:
	opened[me] = true;
gate:
	if
	:: k[me] == DROPPED || (over && !started[me] && takeover[me] >= BUSY) -> goto ended
	:: takeover[me] < BUSY || started[me] ->
#ifdef BUSY_UNSAID
		atomic { v = takeover[me];
			 if
			 :: v < BUSY -> takeover[me] = BUSY; opened[me] = false
			 :: else
			 fi };
#else
		atomic { v = takeover[me]; takeover[me] = BUSY; opened[me] = false };
#endif
		if
		:: v < BUSY -> goto replace
		:: v >= BUSY ->
			v = NONE;
			atomic { started[me] = false };
			atomic { k[me] = POOLED; other = NONE;
				 if
				 :: standby == NONE -> choose_standby()
				 :: else
				 fi }
		fi;
		goto again
	:: atomic { standby == me && looks -> looks-- }; look(2 << me); goto gate
	fi;
replace:
	atomic {
		if
		:: act == v && k[v] == RUNNING && (k[me] == POOLED || started[me]) ->
			k[v] = BLOCKED;
			if
			:: started[me] -> started[me] = false; other = NONE
			:: else
			fi;
			k[me] = RUNNING;
			act = me;
			choose_standby();
			assert(told[v] == NOT_YET);
			told[v] = REPORTED;
			v = NONE;
			goto run_vcore
		:: else
		fi };
	give_back(v);
	v = NONE;
	goto again;
run_vcore:
	atomic { assert(core == NONE); core = me; set_run(me, UTHREAD) };
uthread:
	if
	:: atomic { blocks -> blocks--; core = NONE; asleep[me] = true }
	:: atomic { !blocks ->
		set_run(me, AWAY); core = NONE; k[me] = POOLED; act = NONE; standby = NONE; over = true };
		goto again
	fi;
	/* It comes back. */
	atomic { asleep[me] = false;
		if
		:: word[me] == UTHREAD -> looked[me] = 0; assert(core == NONE); core = me; goto uthread
		:: else -> assert(word[me] == STOLEN); set_run(me, AWAY)
		fi };
	atomic { told[me] != NOT_YET -> got = told[me] == REPORTED; told[me] = NOT_YET };
	if
	:: !got && k[me] == RUNNING -> goto run_vcore
	:: else
	fi;
	atomic { got = false;
		k[me] = POOLED;
		if
		:: act != NONE && standby != NONE -> standby = me /* it would stay awake */
		:: act != NONE && standby != NONE
		:: act == NONE || standby == NONE -> choose_standby()
		fi };
	goto again;
ended:
#ifndef ENDS_OPEN
	atomic { v = takeover[me]; takeover[me] = BUSY; opened[me] = false };
	if
	:: v < BUSY -> give_back(v)
	:: else
	fi;
#endif
	gone++
}

proctype watcher()
{
	byte v = NONE, b = NONE;
	bool got;

	do
	:: over -> break
	:: atomic { looks -> looks-- }; look(1)
	od
}

/* A word leaves its buffer, some time. */
proctype stores()
{
end:	do
	:: atomic { opened[0] -> opened[0] = false; takeover[0] = NONE }
	:: atomic { opened[1] -> opened[1] = false; takeover[1] = NONE }
	:: atomic { opened[2] -> opened[2] = false; takeover[2] = NONE }
	od
}

/* One that stands by for nobody is started elsewhere, or dropped. */
proctype others()
{
	byte a;

	do
	:: atomic { starts && other == NONE && !over ->
		starts--;
		select(a : 0 .. 2);
		if
		:: k[a] == POOLED && standby != a -> k[a] = RUNNING; started[a] = true; other = a
		:: else
		fi }
	:: atomic { drops && !over ->
		drops--;
		select(a : 0 .. 2);
		if
		:: k[a] == POOLED && standby != a -> k[a] = DROPPED
		:: else
		fi }
	:: over -> break
	od;
	gone == ACTS;
	assert(core == NONE)
}

init
{
	atomic {
		takeover[0] = BUSY;
		takeover[1] = BUSY;
		takeover[2] = BUSY;
		k[0] = RUNNING;
		act = 0;
		standby = 1;
		run stores();
		run watcher();
		run others();
		run activation(0);
		run activation(1);
		run activation(2)
	}
}
