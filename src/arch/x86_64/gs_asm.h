/* SPDX-License-Identifier: MIT */
/*
 * Numbers that assembly and C share: offsets in struct up_gs (checked in gs.h), states of the
 * hand-over word, and what a vcore tells its activation's loop.  Preprocessor lines only.
 */
#ifndef UP_ARCH_X86_64_GS_ASM_H
#define UP_ARCH_X86_64_GS_ASM_H

#define UP_GS_SELF 0
#define UP_GS_RUN 8
#define UP_GS_UTHREAD 16
#define UP_GS_DISABLED 24
#define UP_GS_PENDING 32
#define UP_GS_PARKED 40
#define UP_GS_VC_STACK 48
#define UP_GS_FS 56
#define UP_GS_OWN_SP 64
#define UP_GS_CS_DEPTH 72
#define UP_GS_CALL 76
#define UP_GS_DUE 80
#define UP_GS_TID 84
#define UP_GS_HOME_PC 88
#define UP_GS_LED 96

#define UP_RSEQ_SIGNATURE 0x53053053 /* the one that glibc registers with */

/* Sections are counted in one word: ours, which may hold a lock, in its lower half, and the program's
 * in its upper. */
#define UP_CS_OURS 0xffff
#define UP_CS_PROGRAM 0x10000

/* The low bits of the hand-over word.  The rest counts entries into uthread context, so that a
 * watcher that looked at an earlier stay cannot take a later one. */
#define UP_RUN_MASK 7
#define UP_RUN_IDLE 0	 /* parked, or on its way there */
#define UP_RUN_VCORE 1	 /* vcore context: not to be interrupted, not to be replaced */
#define UP_RUN_UTHREAD 2 /* uthread context: replaced when it blocks */
#define UP_RUN_STOLEN 4	 /* replaced: it runs behind, and hands its uthread back */
#define UP_RUN_SEQ 8	 /* one step of the count */

/* Why control comes back to the activation's loop; the rest of the word is the argument. */
#define UP_OWN_REJOIN 1 /* was replaced: publish the uthread, park */
#define UP_OWN_YIELD 2	/* give the core back */
#define UP_OWN_NICE 3	/* ... as asked */
#define UP_OWN_TAKEN 4	/* the core is being taken */
#define UP_OWN_CHANGE 5 /* this core is to run another vcore */
#define UP_OWN_TO_S 6
#define UP_OWN_TO_M 7

#endif
