/*-------------------------------------------------------------------------
 *
 * concurrency.pml
 *	  Writers, one reader, and restarts of the reader.  The server stays up.
 *
 * A writer takes its xid at once and may then do nothing for as long as it
 * likes (idle, prepared, waiting).  For each event it draws an id and later
 * appends the tuple: in its top transaction, or in a savepoint, whose xid is
 * taken by the append; the savepoint may be rolled back, and the append may
 * never come (an error after nextval).  In the end it commits, or aborts,
 * which is also what a dead backend looks like.  Some events are of one task,
 * whose row lock is held until the transaction, or the savepoint that took
 * it, ends.
 *
 * The reader may be as slow as it likes, between any two steps.  That is what
 * a restart is: nobody but the destination sees what a reader does, so one
 * that dies and goes on from the persisted cursor of an earlier cycle, with
 * only what had been acknowledged by then, does what one does that slept since
 * that cycle.  (durability.pml has restarts and persisted cursors as such.)
 * What a restart adds is that the cursor's text has a bounded length: to fit,
 * everything in a range of ids may have become one hole that is as wide.
 *
 * Checked, besides what emit() asserts:
 *	 - whatever S sees as committed has been emitted when the cycle ends (up to
 *	   high, if a limit ended it).  So nothing is lost, and no open transaction
 *	   keeps back another's events.
 *	 - a whole cycle whose S saw all transactions ended leaves no pending entry,
 *	   and no hole but those it found itself: the state does not grow for ever.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WRITERS
#define WRITERS	3
#endif
#ifndef EVENTS
#define EVENTS	2				/* of a writer, at most */
#endif
#ifndef IDS
#define IDS		3				/* of all writers together, at most */
#endif
#ifndef SAVEPOINTS
#define SAVEPOINTS	1			/* of all writers together, at most */
#endif
#ifndef TASKS
#define TASKS	true			/* are some of the events of one task? */
#endif
#ifndef MERGES
#define MERGES	true			/* may the cursor be merged? */
#endif
#ifndef LIMITS
#define LIMITS	true
#endif

#ifdef STANDBY
byte	observed;				/* highest xid that a WAL record has shown: all that a standby knows */
#define SHOWN(x)	observed = ((x) > observed -> (x) : observed)
#else
#define SHOWN(x)	skip
#endif
short	of_task;				/* ids of events of the one task */

#include "rule.pml"

bool	row_locked;
byte	begun;
byte	ended;
byte	savepoints;

/* which the checks need not know any more */
inline take_back(xids)
{
	d_step {
		for (i : 1 .. IDS) {
			if
			:: HAS(of_task, i) && xmin_of[i] && HAS(xids, xmin_of[i]) -> of_task = of_task & ~BIT(i)
			:: else
			fi
		}
		i = 0
	}
}

/* aborted tuples may be found for ever, or be gone at once */
inline vacuum(xids)
{
	d_step {
		for (i : 1 .. IDS) {
			if
			:: xmin_of[i] && HAS(xids, xmin_of[i]) -> xmin_of[i] = 0
			:: else
			fi
		}
		i = 0
	}
}

inline end_transaction(xids, last)
{
	SHOWN(last);
	running = running & ~(xids);
	rolled_back = rolled_back & ~of_mine;
	if
	:: last > latest_completed -> latest_completed = last
	:: else
	fi
}

inline take_xid()
{
	top = next_xid;
	next_xid++;
	running = running | BIT(top);
	mine = BIT(top);
	last = top;
	printf("	writer %d: takes xid %d\n", me, top)
}

proctype Writer(byte me)
{
	byte	top;
	byte	last;				/* highest xid of this transaction */
	short	mine;				/* its xids that can still commit */
	short	of_mine;			/* its savepoints rolled back */
	byte	sub;
	byte	id;
	byte	n;
	bool	holds;				/* the row lock */
	bool	took;				/* it, for the present event */

	/* writers are alike: that they begin in this order leaves out only copies */
	atomic {
		begun == me;
		begun++;
#ifndef ID_FIRST
		take_xid()
#endif
	}
	do
	:: atomic {
		n < EVENTS && sequence < IDS ->
			n++;
			sequence++;
			id = sequence;
			if
			:: true							/* no task, or another one */
			:: TASKS && (holds || !row_locked) ->
				took = !holds;
				holds = true;
				row_locked = true;
				of_task = of_task | BIT(id);
				printf("	writer %d: locks the task's row\n", me)
			fi;
			printf("	writer %d: draws id %d\n", me, id)
		}
#ifdef ID_FIRST
		if
		:: atomic {
			!top -> take_xid()
			}
		:: top
		fi;
#endif
		if
		:: atomic {
			true ->
				append(id, top);
				SHOWN(top);
				id = 0
			}
		:: atomic {						/* an error instead */
			true ->
				printf("	writer %d: fails to append %d\n", me, id);
				of_task = of_task & ~BIT(id);
				id = 0
			}
		:: atomic {
			savepoints < SAVEPOINTS ->
				savepoints++;
				sub = next_xid;
				next_xid++;
				running = running | BIT(sub);
				mine = mine | BIT(sub);
				last = sub;
				append(id, sub);
				SHOWN(sub);
				id = 0
			}
			if
			:: sub = 0
			:: atomic {
				true ->
					mine = mine & ~BIT(sub);
					of_mine = of_mine | BIT(sub);
					running = running & ~BIT(sub);
					rolled_back = rolled_back | BIT(sub);
					take_back(BIT(sub));
					printf("	writer %d: rolls savepoint (xid %d) back\n", me, sub);
					if
					:: sub > latest_completed -> latest_completed = sub
					:: else
					fi;
					if
					:: took -> holds = false; row_locked = false
					:: else
					fi;
					sub = 0
				}
			fi
		fi;
		took = false
	:: break
	od;

	/* commit log and proc array: for a snapshot, one moment */
	atomic {
		if
		:: committed = committed | mine; printf("	writer %d: commits\n", me)
		:: take_back(mine); printf("	writer %d: aborts\n", me)
		:: take_back(mine); vacuum(mine); printf("	writer %d: aborts, and is vacuumed\n", me)
		fi;
		end_transaction(mine, last);
		if
		:: holds -> row_locked = false
		:: else
		fi;
		ended++;
		top = 0; last = 0; mine = 0; of_mine = 0; id = 0; n = 0; holds = false
	}
}

/*
 * A cursor that was merged to fit: two entries, and all between them, become
 * one hole.  Its U is the next xid; the largest U of the holes in it would do,
 * since an id that was pending has a tuple, and so needs no U to wait for it.
 */
#define MERGE(lo, hi) \
	:: MERGES && hi <= high && (hole[lo] || pending[lo]) && (hole[hi] || pending[hi]) -> \
		merge_ranges(lo, hi)

inline merge_ranges(lo, hi)
{
	d_step {
		printf("reader: restarts with %d to %d merged to one hole\n", lo, hi);
#ifdef MERGE_LARGEST_U
		largest = 0;
		for (i : lo .. hi) {
			largest = (hole[i] > largest -> hole[i] : largest)
		}
#endif
		for (i : lo .. hi) {
#ifdef MERGE_LARGEST_U
			/* 0 would mean no hole; 1 closes at the first look */
			hole[i] = (largest -> largest : 1);
#else
			hole[i] = next_xid;
#endif
			pending[i] = 0
		}
#ifdef MERGE_LARGEST_U
		largest = 0;
#endif
		i = 0
	}
}

active proctype Reader()
{
	byte	U;
#ifdef RELOOK_LIMIT
	bool	stopped_1;
#endif
#ifdef MERGE_LARGEST_U
	byte	largest;
#endif

	atomic {
		for (i : 0 .. WRITERS - 1) {
			run Writer(i)
		}
		i = 0
	}
end:
	do
	:: atomic {
			all_ended = (ended == WRITERS);
			take_snapshot()
		}
#ifdef U_BEFORE_SCAN
		d_step { U = next_xid; printf("reader: reads U = %d\n", U) }
#endif
		atomic {
			choose_look();
			d_step {
				step_1();
#ifdef RELOOK_LIMIT
				/* the limit ends step 1, and step 2 runs all the same */
				stopped_1 = stopped;
				stopped = false;
				step_2();
				stopped = stopped || stopped_1;
				stopped_1 = false;
#else
				step_2();
#endif
#ifndef LATE_SNAPSHOT
				check_cycle()
#endif
			}
		}
#ifdef LATE_SNAPSHOT
		/* one snapshot to look by, a newer one to close holes by */
		atomic {
			check_cycle();
			take_snapshot();
			for (i : 1 .. high) {
				close_hole(i)
			}
			i = 0
		}
#endif
		if
		:: gaps == 0
		:: d_step {
				gaps != 0 ->
#ifdef STANDBY
					U = observed + 1;
#endif
#if !defined(U_BEFORE_SCAN) && !defined(STANDBY)
					U = next_xid;			/* AFTER the scan */
#endif
					make_holes(U);
					U = 0
			}
		fi
	/* a restart from a cursor whose text was too long */
	MERGE(1, 1) MERGE(1, 2) MERGE(2, 2)
#if IDS >= 3
	MERGE(1, 3) MERGE(2, 3) MERGE(3, 3)
#endif
#if IDS >= 4
	MERGE(1, 4) MERGE(2, 4) MERGE(3, 4) MERGE(4, 4)
#endif
	od
}
