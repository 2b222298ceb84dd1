/* SPDX-License-Identifier: MIT */
/*
 * One vcore on one core, two activations, a host that performs effects late and in any order and
 * fails some.  The kernel side's calls are atomic, as under its lock; everything else interleaves.
 * What it publishes is seen at once: yield.pml and take.pml have store buffers for that.
 * Claims: never two activations on the core; running activations are as many as online vcores;
 * preemptions sent and done differ by the one under way; nobody waits for ever.
 * Broken on purpose: STALE_TAKE (a report that is out of date is believed), ANY_RELEASE (an activation
 * takes any release for its own), NOT_AIMED_AGAIN (a take misses who stepped in), NO_CLAIM (a blocked
 * activation comes back without asking whether it was replaced), YIELD_UNDER_TAKE.
 */
#define NONE 9

mtype = { pooled, running, blocked, frozen }; /* as the kernel side has it */
mtype = { gate, core, inside, stopped };	      /* where it really is */
mtype = { start, take };

mtype k[2] = pooled;
byte act = NONE; /* runs the vcore */
byte ice = NONE; /* frozen activation of the vcore */
bool starting, taking;
byte startnr, takenr;
byte starts[2];
byte sent, done;
byte preempts = PREEMPTS;
byte grants = GRANTS;
byte blocks = BLOCKS;

mtype at[2] = gate;
byte released[2] = NONE;
bool claimed[2]; /* somebody steps in for it, and has not been answered */
bool stands_in[2];
bool open[2]; /* in uthread context */
bool ended;

chan effects = [4] of { mtype, byte, byte, byte }; /* what, activation, number, value of starts */

#define nr_running ((k[0] == running) + (k[1] == running))
#define nr_online (act != NONE)

/* The vcore goes offline: how its activation is left is said by `as`. */
inline offline(as)
{
	k[act] = as;
	if
	:: as == frozen -> ice = act
	:: else
	fi;
	if
	:: taking -> done++
	:: else
	fi;
	taking = false;
	starting = false;
	act = NONE
}

inline send_take()
{
	takenr++;
	effects!take, act, takenr, 0
}

inline send_start(a)
{
	act = a;
	k[act] = running;
	if
	:: ice == act -> ice = NONE
	:: else
	fi;
	starts[act]++;
	startnr++;
	starting = true;
	effects!start, act, startnr, starts[act]
}

/* Grants and preempts; it ends when no preemption is under way, which must come about. */
active proctype policy()
{
	do
	:: atomic { act == NONE && grants && nfull(effects) ->
			grants--;
			if
			:: ice != NONE -> send_start(ice)
			:: ice == NONE && k[0] == pooled -> send_start(0)
			:: ice == NONE && k[1] == pooled -> send_start(1)
			:: ice == NONE && k[0] != pooled && k[1] != pooled -> grants++
			fi }
	:: atomic { act != NONE && !taking && preempts && nfull(effects) ->
			preempts--;
			taking = true;
			sent++;
			send_take() }
	:: atomic { (preempts == 0 || (act == NONE && grants == 0)) && !taking && !ended ->
			ended = true }
	:: ended -> break
	od
}

/* A start: performed, then reported; or reported as failed.  A take: as it finds the activation. */
active proctype host()
{
	byte a, nr, value;

end:	do
	:: atomic { effects??start, a, nr, value -> released[a] = value };
		atomic {
			if
			:: starting && startnr == nr -> starting = false
			:: else
			fi }
	:: atomic { effects??start, a, nr, value ->
			if
			:: starting && startnr == nr && at[a] == gate -> offline(pooled)
			:: starting && startnr == nr && at[a] == stopped -> offline(frozen)
			:: else
			fi }
	:: atomic { effects??take, a, nr, value ->
			if
			:: claimed[a] || stands_in[a] -> effects!take, a, nr, value
			:: !claimed[a] && !stands_in[a] ->
				if
#ifdef STALE_TAKE
				:: taking && act != NONE ->
#else
				:: taking && takenr == nr ->
#endif
					if
					:: at[a] == core && open[a] -> at[a] = gate; offline(pooled)
					:: at[a] == core && !open[a] -> at[a] = stopped; offline(frozen)
					:: at[a] == inside -> offline(blocked)
					:: at[a] == gate -> offline(pooled)
					:: at[a] == stopped -> offline(frozen)
					fi
				:: else
				fi
			fi }
	od
}

active [2] proctype activation()
{
	byte me = _pid - 2, other = 1 - (_pid - 2);

end:	do
	/* At its gate, or stopped: released, it looks whether that was meant for now. */
#ifdef ANY_RELEASE
	:: atomic { (at[me] == gate || at[me] == stopped) && !stands_in[me] && released[me] != NONE ->
			released[me] = NONE; at[me] = core; open[me] = false;
			assert(at[other] != core) }
#else
	:: atomic { (at[me] == gate || at[me] == stopped) && !stands_in[me] &&
		    released[me] == starts[me] && k[me] == running ->
			released[me] = NONE; at[me] = core; open[me] = false;
			assert(at[other] != core) }
#endif
	:: atomic { at[me] == core && !stands_in[me] -> open[me] = !open[me] }
	:: atomic { at[me] == core && !stands_in[me] && open[me] && blocks ->
			blocks--; at[me] = inside }
	/* Yields: not when it is being taken. */
#ifdef YIELD_UNDER_TAKE
	:: atomic { at[me] == core && !stands_in[me] && !open[me] && act == me ->
			assert(k[me] == running); k[me] = pooled; act = NONE; starting = false;
			at[me] = gate }
#else
	:: atomic { at[me] == core && !stands_in[me] && !open[me] && act == me && !taking ->
			offline(pooled); at[me] = gate }
#endif
	/* Leaves as it was told to. */
	:: atomic { at[me] == core && !stands_in[me] && act == me && taking ->
			at[me] = gate; offline(pooled) }
	/* The other sits in Linux, this one is free: it steps in, then says so. */
	:: atomic { at[other] == inside && !claimed[other] && k[other] == running &&
		    at[me] == gate && k[me] == pooled ->
			claimed[other] = true; stands_in[me] = true; at[me] = core; open[me] = false;
			assert(at[other] != core) }
	:: atomic { stands_in[me] && nfull(effects) ->
			stands_in[me] = false;
			if
			:: act == other && k[me] == pooled ->
				k[other] = blocked; k[me] = running; act = me; starting = false;
#ifndef NOT_AIMED_AGAIN
				if
				:: taking -> send_take()
				:: else
				fi
#endif
			:: else -> at[me] = gate
			fi;
			claimed[other] = false }
	/* Back from Linux: replaced or not. */
#ifdef NO_CLAIM
	:: atomic { at[me] == inside -> at[me] = core; assert(at[other] != core) }
#else
	:: atomic { at[me] == inside && !claimed[me] && k[me] == running ->
			at[me] = core; assert(at[other] != core) }
	:: atomic { at[me] == inside && !claimed[me] && k[me] == blocked ->
			k[me] = pooled; at[me] = gate }
#endif
	od
}

/* Looks at any time. */
active proctype watcher()
{
	atomic { assert(nr_running == nr_online);
		 assert(sent - done == taking) }
}
