/* SPDX-License-Identifier: MIT */
/*
 * Notification between the kernel side and one vcore, each behind a store buffer: stores become
 * visible in order and late, loads overtake them.  A signal may arrive at any time after it is sent,
 * and is ignored when the vcore is in vcore context.
 * Claim: when all is quiet, every message has been read.
 * Broken on purpose: KERN_FENCE_DROPPED, VCORE_FENCE_DROPPED, PENDING_FIRST, CLEARED_LATE.
 */
#define MESSAGES 2

#define TAIL	 0
#define PENDING	 1
#define DISABLED 2

byte mem[3];
chan kbuf = [4] of { byte, byte };
chan vbuf = [4] of { byte, byte };
bool signal; /* sent and not arrived */
bool posted; /* the kernel side has finished */
bool inside = true; /* the vcore's own view of DISABLED */
byte seen;

#define store(buf, addr, val) buf!addr, val
#define fence(buf)	      empty(buf)

/* What is in a buffer comes out, some time. */
active [1] proctype kernel_stores()
{
	byte addr, val;
end:	do
	:: atomic { kbuf?addr, val -> mem[addr] = val }
	od
}

active [1] proctype vcore_stores()
{
	byte addr, val;
end:	do
	:: atomic { vbuf?addr, val -> mem[addr] = val }
	od
}

active [1] proctype kernel()
{
	byte i;

	for (i : 1 .. MESSAGES) {
#ifdef PENDING_FIRST
		store(kbuf, PENDING, 1);
		store(kbuf, TAIL, i);
#else
		store(kbuf, TAIL, i);
		store(kbuf, PENDING, 1);
#endif
#ifndef KERN_FENCE_DROPPED
		fence(kbuf);
#endif
		if
		:: mem[DISABLED] == 0 -> signal = true
		:: else
		fi
	}
	fence(kbuf);
	posted = true
}

/* Arrives while the vcore is in vcore context: the handler returns. */
active [1] proctype ignored()
{
end:	do
	:: atomic { signal && inside -> signal = false }
	od
}

active [1] proctype vcore()
{
	byte late;

	store(vbuf, DISABLED, 1);
	fence(vbuf);
context:
#ifdef CLEARED_LATE
	seen = mem[TAIL];
	store(vbuf, PENDING, 0);
	fence(vbuf);
#else
	store(vbuf, PENDING, 0);
	fence(vbuf);
	seen = mem[TAIL];
#endif
	store(vbuf, DISABLED, 0);
	inside = false;
#ifndef VCORE_FENCE_DROPPED
	fence(vbuf);
#endif
	if
	:: mem[PENDING] == 1 -> goto again
	:: mem[PENDING] == 0 -> skip
	fi;
rest:
	if
	:: atomic { signal -> signal = false }; goto again
	:: posted && empty(kbuf) && empty(vbuf) && !signal -> goto quiet
	fi;
again:
	inside = true;
	store(vbuf, DISABLED, 1);
	goto context;
quiet:
	assert(seen == MESSAGES)
}
