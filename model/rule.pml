/*-------------------------------------------------------------------------
 *
 * rule.pml
 *	  The event log's read rule, as both models run it.
 *
 *	writer	GetTopTransactionId() first, then id = nextval(), then append
 *	state	high; holes [{lo, hi, U}]; pending [{xid, lo, hi}]
 *	cycle	S = one fresh MVCC snapshot, used for both steps
 *	  1. re-look, in id order, at holes and at pending ids whose inserter S no
 *		 longer sees as in progress:
 *			visible in S							emit
 *			in progress, or ended after S			pending
 *			aborted									drop
 *		 what is still without a tuple leaves the holes once S.xmin >= U
 *	  2. scan ids > high in order, classify the same way; an id without a
 *		 tuple becomes a hole; U = next xid, read AFTER the scan
 *
 * How it is written down here:
 *
 * Ranges are kept id by id: hole[id] is the U of the hole that id lies in,
 * pending[id] the inserter of the entry that it lies in (0: neither).  A range
 * is a shorter way to write the same.
 *
 * A look at the log is not a moment: it goes through pages of several
 * segments, each read when its turn comes.  What it may do is bounded by two
 * facts: a tuple appended before S was taken is found (the scan begins
 * later); one appended after S may be found or missed, whatever its id and
 * whatever else the same scan found.  So both steps are one atomic step, at
 * the latest moment at which any page may be read, which misses any set of
 * the tuples appended since S (since_S).  That allows every real
 * interleaving, and some more.  U is another step, later.
 *
 * A cycle may stop after any row: a limit, or a full I/O process.  In step 1
 * that skips step 2.
 *
 * "emitted" is what the destination is certain to have: after a restart it is
 * taken back to what was acknowledged when the persisted cursor was saved.
 *
 *-------------------------------------------------------------------------
 */
#define BIT(n)		(1 << (n))
#define HAS(set, n)	((set) & BIT(n))

/* ---- the server, as far as the rule can see it ---- */

byte	next_xid = 1;			/* ReadNextFullTransactionId() */
byte	latest_completed;		/* xmax of a snapshot is one more */
short	running;				/* set of xids in the proc array, with subtransactions */
short	rolled_back;			/* subtransactions rolled back while their top one runs */
short	committed;				/* set of xids: the commit log */
byte	sequence;				/* last id drawn */
byte	xmin_of[IDS + 1];		/* inserter of the tuple with that id; 0 = no tuple (yet) */

/* ---- the snapshot of the cycle ---- */

byte	S_xmin;
byte	S_xmax;
short	S_xip;
#define IN_PROGRESS(x)	((x) >= S_xmax || HAS(S_xip, x))

short	since_S;				/* ids whose tuple was appended after S, while its cycle runs */
bool	all_ended;				/* no writer is left when S is taken */
short	due;					/* ids committed in S: what a whole cycle must have emitted */

/* ---- the reader's state, and what it has done ---- */

byte	high;
byte	hole[IDS + 1];
byte	pending[IDS + 1];
short	emitted;
short	gaps;					/* ids found without a tuple by step 2 of this cycle */
short	missed;					/* ids without a tuple, or of which this cycle misses it */
byte	stop_after;				/* this cycle's limit: the id of the row that is the last */
bool	stopped;				/* the cycle ended early */
#define NEVER	(IDS + 1)

#ifdef XIP_ONLY
short	hole_xip[IDS + 1];		/* S.xip of the cycle that found the hole */
#endif

byte	i;						/* of loops; 0 between steps */
byte	j;

/* the writer's append */
inline append(id, xid)
{
	xmin_of[id] = xid;
	printf("	writer with xid %d: appends id %d\n", xid, id);
	if
	:: S_xmax -> since_S = since_S | BIT(id)
	:: else
	fi
}

inline take_snapshot()
{
	d_step {
		S_xmax = latest_completed + 1;
		/* xids beyond xmax are in progress, and not listed */
		S_xip = running & (BIT(S_xmax) - 1);
		/* xmin = the lowest of them */
		S_xmin = 1;
		do
		:: S_xmin < S_xmax && !HAS(S_xip, S_xmin) -> S_xmin++
		:: else -> break
		od;
		since_S = 0;
		due = 0;
		for (i : 1 .. IDS) {
			if
			:: xmin_of[i] && HAS(committed, xmin_of[i]) && !IN_PROGRESS(xmin_of[i]) ->
				due = due | BIT(i)
			:: else
			fi
		}
		i = 0
	}
	/*
	 * One that has overflowed its list of subtransactions asks for the top
	 * transaction, and so also takes those for running that were rolled back.
	 */
	if
	:: true
	:: rolled_back & (BIT(S_xmax) - 1) -> S_xip = S_xip | (rolled_back & (BIT(S_xmax) - 1))
	fi;
	printf("reader: S with xmin %d, xmax %d, xip %x (a bit an xid)\n", S_xmin, S_xmax, S_xip)
}

/* what the look will not find, and the row after which it will stop; each choice one step */
#define MISS(set)	:: (since_S & (set)) == (set) -> missed = missed | (set)
#define STOP(id)	:: LIMITS && !HAS(missed, id) -> stop_after = id

inline choose_look()
{
	d_step {
		for (i : 1 .. IDS) {
			if
			:: !xmin_of[i] -> missed = missed | BIT(i)
			:: else
			fi
		}
		i = 0
	}
	if
	:: true
	MISS(2) MISS(4) MISS(6)
#if IDS >= 3
	MISS(8) MISS(10) MISS(12) MISS(14)
#endif
#if IDS >= 4
	MISS(16) MISS(18) MISS(20) MISS(22) MISS(24) MISS(26) MISS(28) MISS(30)
#endif
	fi;
	if
	:: stop_after = NEVER
	STOP(1) STOP(2)
#if IDS >= 3
	STOP(3)
#endif
#if IDS >= 4
	STOP(4)
#endif
	fi
}

inline emit(id)
{
	assert(HAS(committed, xmin_of[id]));		/* nothing of an aborted or open transaction */
	for (j : 1 .. IDS) {						/* order of a task */
		assert(!(HAS(of_task, id) && j < id && HAS(of_task, j) && xmin_of[j] &&
				 HAS(committed, xmin_of[j])) || HAS(emitted, j))
	}
	j = 0;
	printf("reader: emits %d\n", id);
	emitted = emitted | BIT(id)
}

/* the look found the tuple of this id */
inline classify(id)
{
	hole[id] = 0;
	pending[id] = 0;
	if
#ifdef CLASSIFY_NOW
	:: HAS(running, xmin_of[id]) -> pending[id] = xmin_of[id]
#else
	:: IN_PROGRESS(xmin_of[id]) -> pending[id] = xmin_of[id]
#endif
	:: else ->
		if
		:: HAS(committed, xmin_of[id]) -> emit(id)
		:: else									/* aborted */
		fi
	fi;
	if
	:: pending[id] -> printf("reader: %d is pending, xid %d\n", id, pending[id])
	:: else
	fi;
	stopped = (id == stop_after)
}

inline close_hole(id)
{
	if
#ifdef XIP_ONLY
	:: hole[id] && !(hole_xip[id] & S_xip) -> hole[id] = 0; printf("reader: forgets hole %d\n", id)
#else
	:: hole[id] && S_xmin >= hole[id] -> hole[id] = 0; printf("reader: forgets hole %d\n", id)
#endif
	:: else
	fi
}

inline step_1()
{
	for (i : 1 .. high) {
		if
		:: !stopped && (hole[i] || (pending[i] && !IN_PROGRESS(pending[i]))) ->
			if
			:: !HAS(missed, i) -> classify(i)
			:: else ->
				pending[i] = 0;					/* aborted, and vacuumed away */
#ifndef LATE_SNAPSHOT
				close_hole(i)
#endif
			fi
		:: else
		fi
	}
	i = 0
}

inline step_2()
{
	for (i : (high + 1) .. IDS) {
		if
		:: !stopped && !HAS(missed, i) ->
			/* the ids skipped on the way */
			for (j : (high + 1) .. (i - 1)) {
				gaps = gaps | BIT(j);
#ifdef XIP_ONLY
				hole_xip[j] = S_xip
#endif
			}
			j = 0;
			high = i;
			classify(i)
		:: else
		fi
	}
	i = 0
}

/* the new holes, with the U just read */
inline make_holes(U)
{
	for (i : 1 .. IDS) {
		if
#ifndef DROP_AT_ONCE
		:: HAS(gaps, i) ->
			printf("reader: %d is a hole, U %d\n", i, U);
			hole[i] = U
#endif
		:: else
		fi
	}
	i = 0;
	gaps = 0
}

/* what a cycle must have achieved, once both steps are done */
inline check_cycle()
{
	for (i : 1 .. IDS) {
		/* whatever S sees as committed was emitted; of a cycle cut short, what it leaves is not forgotten */
		assert(!HAS(due, i) || HAS(emitted, i) ||
			   (stopped && (i > high || hole[i] || pending[i] || HAS(gaps, i))));
#if !defined(LATE_SNAPSHOT) && !defined(TOKEN_AS_IS)
		/* with nothing open any more, nothing is left of earlier cycles */
		assert(!all_ended || stopped || !(hole[i] || pending[i]))
#endif
	}
	i = 0;
	missed = 0; stop_after = 0; stopped = false;
	since_S = 0; due = 0; all_ended = false;
	S_xmin = 0; S_xmax = 0; S_xip = 0
}
