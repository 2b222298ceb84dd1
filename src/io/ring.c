/* SPDX-License-Identifier: MIT */
/*
 * What has no readiness to wait for, files above all, is done by io_uring.  Requests belong to the
 * thread that submits them, so one alone does: the listener, which sleeps in nothing but its own wait,
 * ends only with the runtime, and runs none of the program's code.  Uthreads hand it what they want in
 * a list, and ring where that was empty; it submits all at once, and hands back all that is done.
 *
 * The request lies on the stack of who waits for it, and stays until it has come back: a deadline or a
 * cancellation asks Linux to give it up, and then waits for what came of it.
 */
#include "io/io.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>

#define DEPTH 256u

static struct {
	struct io_uring ring; /* the listener's, and so is what it holds: not submitted yet */
	struct up_ring_req *held, **held_end;
	bool there;		   /* atomic: it can be used */
	struct up_ring_req *to_do; /* atomic: handed over, newest first */
} r;

/* ---- the listener's side ---- */

/* Completions ring the bell as requests do: of a ring whose work is put off until its thread asks for it
 * epoll does not hear. */
void up_ring_open(void)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER |
					      IORING_SETUP_DEFER_TASKRUN };
	int err = UP_INJECT_FAIL(io_ring) ? -EPERM : io_uring_queue_init_params(DEPTH, &r.ring, &p);

	if (err == -EINVAL) { /* before Linux 6.1 */
		p = (struct io_uring_params){ 0 };
		err = io_uring_queue_init_params(DEPTH, &r.ring, &p);
	}
	if (err)
		return;
	r.held_end = &r.held;
	err = io_uring_register_eventfd(&r.ring, up_io.bell);
	if (err)
		io_uring_queue_exit(&r.ring);
	else
		up_store_release(&r.there, true); /* pairs with up_ring_there() */
}

void up_ring_close(void)
{
	if (r.there)
		io_uring_queue_exit(&r.ring);
	memset(&r, 0, sizeof(r));
}

static void prepare(struct io_uring_sqe *sqe, struct up_ring_req *q)
{
	io_uring_prep_rw(q->op, sqe, q->fd, q->addr, q->len, q->off);
	sqe->rw_flags = (int)q->flags;
	io_uring_sqe_set_data(sqe, q);
}

/* What has been handed over goes to the end of what we hold, in the order in which it came. */
static void gather(void)
{
	struct up_ring_req *q, *next, *fifo = NULL;

	if (!up_load_relaxed(&r.to_do))
		return;
	/* acquire: pairs with hand_over(): the requests are whole */
	for (q = up_xchg_acquire(&r.to_do, NULL); q; q = next) {
		next = q->next;
		q->next = fifo;
		fifo = q;
	}
	*r.held_end = fifo;
	for (; fifo; fifo = fifo->next)
		r.held_end = &fifo->next;
}

/* As many as there is room for. */
static void fill(void)
{
	struct io_uring_sqe *sqe;

	while (r.held && (sqe = io_uring_get_sqe(&r.ring))) {
		prepare(sqe, r.held);
		r.held = r.held->next;
	}
	if (!r.held)
		r.held_end = &r.held;
}

/* It may be gone once the guard is free. */
static void done(struct up_ring_req *q, int res, struct up_wakes *k)
{
	up_guard(&q->guard);
	q->res = res;
	q->done = true;
	up_waitq_wake_all(&q->waiter, k);
	up_unguard(&q->guard, NULL);
}

static void reap(struct up_wakes *k)
{
	struct io_uring_cqe *cqe;
	struct up_ring_req *q;

	while (!io_uring_peek_cqe(&r.ring, &cqe)) {
		q = io_uring_cqe_get_data(cqe);
		done(q, cqe->res, k);
		io_uring_cqe_seen(&r.ring, cqe);
	}
}

bool up_ring_turn(struct up_wakes *k)
{
	int err;

	if (!r.there)
		return false;
	UP_INJECT(io_ring_turns);
	gather();
	do {
		fill();
		err = io_uring_submit_and_get_events(&r.ring);
		UP_INJECT(io_ring_reaps);
		reap(k);
	} while (err >= 0 && r.held);
	return r.held || io_uring_sq_ready(&r.ring);
}

/* ---- the uthread's side ---- */

bool up_ring_there(void)
{
	if (UP_UNLIKELY(!up_load_acquire(&up_io.there)) && up_io_start() < 0)
		return false;
	return up_load_acquire(&r.there); /* pairs with up_ring_open() */
}

static void hand_over(struct up_ring_req *q)
{
	struct up_ring_req *head = up_load_relaxed(&r.to_do);

	do
		q->next = head;
	/* release: pairs with take_to_do() */
	while (!up_cas_release(&r.to_do, &head, q));
	if (!head && !UP_MUT(io_ring_not_rung))
		up_listen_ring();
}

/* Until it has come back, or the moment.  Nobody is woken for another wait than this one. */
static int wait_for(struct up_ring_req *q, uint64_t until)
{
	struct up_waiter w;
	int err = up_wait_begin(&w, q->op == IORING_OP_WRITE ? UP_WAIT_OUT : UP_WAIT_IN,
				(void *)(intptr_t)q->fd);

	if (err)
		return err;
	up_guard(&q->guard);
	if (q->done) {
		up_unguard(&q->guard, NULL);
		return 0;
	}
	up_waitq_push(&q->waiter, &w);
	up_unguard(&q->guard, NULL);
	err = up_wait(&w, until);
	if (err) {
		up_guard(&q->guard);
		up_waitq_remove(&q->waiter, &w);
		up_unguard(&q->guard, NULL);
	}
	return err;
}

/* Linux may be done with it all the same: then that counts, and nothing is lost.  What asks for the end has
 * to come back too, whichever of the two is first. */
static long give_up(struct up_ring_req *q, int why)
{
	struct up_ring_req cancel = { .op = IORING_OP_ASYNC_CANCEL, .fd = -1, .addr = q };

	upcall_cancel_disable();
	hand_over(&cancel);
	if (UP_MUT(io_ring_given_up_at_once))
		return why;
	while (wait_for(q, UP_FOREVER))
		;
	while (!UP_MUT(io_ring_cancel_left) && wait_for(&cancel, UP_FOREVER))
		;
	upcall_cancel_enable();
	return q->res == -ECANCELED || q->res == -EINTR ? why : q->res;
}

long up_ring_call(struct up_ring_req *q)
{
	uint64_t until = ((struct up_uthread *)up_gs_uthread())->wait.io_until;
	int err;

	hand_over(q);
	err = wait_for(q, until ? until : UP_FOREVER);
	return err ? give_up(q, err) : q->res;
}
