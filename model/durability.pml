/*-------------------------------------------------------------------------
 *
 * durability.pml
 *	  The same rule on a server that crashes.
 *
 * A crash takes back everything after some place in the WAL.  What it leaves
 * is the state that the WAL had described up to there; so instead of records
 * this model keeps a second state, "d_...", and a flush, which may happen at
 * any moment, copies the first to the second.  A crash copies it back.  With
 * that come three things that the rule cannot see while the server is up:
 *
 *	 - a commit with synchronous_commit = off is visible before it is flushed
 *	   (a synchronous one is flushed before it is visible);
 *	 - ids drawn and not flushed are drawn AGAIN after the crash;
 *	 - xids that have left no flushed record are given AGAIN, too; so a U may
 *	   lie above the next xid.
 *
 * Prepared transactions survive.  Writers that have not begun may begin after
 * the crash.
 *
 * The reader waits, in step 3, until the commits that it is about to send are
 * flushed (they, and not all that it has looked at), then sends, then may save
 * the state as its persisted cursor, which is a row like any other.  It may be
 * restarted alone, too.
 *
 * With -DTOKEN the cursor is a token instead: the same state, but in the hands
 * of a client, where no crash takes it back.  Its high must not reach beyond
 * the highest id that was emitted, that is, flushed: with the looked-at ids
 * above it, a crash would give the same ids to other events, and the client
 * would never get those.  (-DTOKEN_FLUSHED: or flush everything before handing
 * it out.)
 *
 * Checked, besides what rule.pml does: what was sent is never taken back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WRITERS
#define WRITERS	3
#endif
#ifndef IDS
#define IDS		3
#endif
#ifndef SAVES
#define SAVES	1				/* persisted cursors: each takes an xid */
#endif
#ifndef AHEAD
#define AHEAD	0				/* ids that a WAL record of the sequence covers beyond the one drawn */
#endif
#ifndef PREPARES
#define PREPARES	true
#endif
#ifndef RESTARTS
#define RESTARTS	true		/* of the reader alone */
#endif
#define LIMITS	false
#define TASKS	false

short	of_task;				/* none: the order of a task is concurrency.pml's */

#include "rule.pml"

byte	begun;
byte	ended;
bool	crashed;				/* one is enough */
byte	lives = 1;

/* what the WAL describes beyond xmin_of and committed, of which each change is a record */
byte	logged_xid;				/* highest xid that a record bears */
byte	logged_sequence;
short	prepared;

byte	saved_high;
byte	saved_hole[IDS + 1];
byte	saved_pending[IDS + 1];
short	saved_emitted;
byte	saves;

/* the flushed state */
byte	d_logged_xid;
byte	d_logged_sequence;
short	d_prepared;
short	d_committed;
byte	d_xmin_of[IDS + 1];
#ifndef TOKEN
byte	d_saved_high;
byte	d_saved_hole[IDS + 1];
byte	d_saved_pending[IDS + 1];
short	d_saved_emitted;
#endif

short	sent;					/* ids that the destination has ever got */

inline log_xid(x)
{
	logged_xid = (x > logged_xid && !crashed -> x : logged_xid)
}

/* after the one crash there is no other, for which anything would have to be remembered */
inline flush()
{
	if
	:: !crashed -> copy_flushed()
	:: else
	fi
}

inline copy_flushed()
{
	d_logged_xid = logged_xid;
	d_logged_sequence = logged_sequence;
	d_prepared = prepared;
	d_committed = committed;
#ifndef TOKEN
	d_saved_high = saved_high;
	d_saved_emitted = saved_emitted;
#endif
	for (i : 1 .. IDS) {
		d_xmin_of[i] = xmin_of[i];
#ifndef TOKEN
		d_saved_hole[i] = saved_hole[i];
		d_saved_pending[i] = saved_pending[i]
#endif
	}
	i = 0
}

#define FLUSHED(id)	(d_xmin_of[id] && d_xmin_of[id] == xmin_of[id] && HAS(d_committed, d_xmin_of[id]))

#define MAY_SEND(id)	(crashed || !HAS(emitted, id) || FLUSHED(id))
#ifdef UNFLUSHED
#define ALL_FLUSHED	true
#elif IDS == 2
#define ALL_FLUSHED	(MAY_SEND(1) && MAY_SEND(2))
#elif IDS == 3
#define ALL_FLUSHED	(MAY_SEND(1) && MAY_SEND(2) && MAY_SEND(3))
#else
#define ALL_FLUSHED	(MAY_SEND(1) && MAY_SEND(2) && MAY_SEND(3) && MAY_SEND(4))
#endif

inline leave_proc_array(x)
{
	d_step {
		running = running & ~BIT(x);
		latest_completed = (x > latest_completed -> x : latest_completed)
	}
}

proctype Writer(byte me)
{
	byte xid;
	byte id;
	byte life;
	bool survives;				/* a crash: it is prepared */

	{
		/* as in concurrency.pml */
		atomic {
			begun == me;
			begun++;
			life = lives;
			xid = next_xid;
			next_xid++;
			running = running | BIT(xid);
			printf("	writer %d: takes xid %d\n", me, xid)
		}
		/* nextval() logs the sequence when its last record does not cover the id */
		d_step {
			if
			:: sequence < IDS ->
				sequence++;
				id = sequence;
				printf("	writer %d: draws id %d\n", me, id);
				if
				:: sequence > logged_sequence ->
					logged_sequence = (crashed -> 0 : sequence + AHEAD);
					log_xid(xid)
				:: else
				fi
			:: else
			fi
		}
		d_step {
			if
			:: id ->
				append(id, xid);
				log_xid(xid)
			:: else
			fi;
			id = 0
		}
		if
		/* synchronous: flushed, and then visible */
		:: d_step {
				printf("	writer %d: commits, flushed\n", me);
				committed = committed | BIT(xid);
				log_xid(xid);
				flush()
			}
			leave_proc_array(xid)
		/* asynchronous */
		:: d_step {
				printf("	writer %d: commits asynchronously\n", me);
				committed = committed | BIT(xid);
				log_xid(xid);
				leave_proc_array(xid)
			}
		:: leave_proc_array(xid)				/* aborted */
		/* prepared: it, and either end of it, are flushed */
		:: d_step {
				PREPARES ->
				survives = true;
				printf("	writer %d: prepares\n", me);
				prepared = prepared | BIT(xid);
				log_xid(xid);
				flush()
			}
			if
			:: d_step {
					printf("	writer %d: commits prepared\n", me);
					committed = committed | BIT(xid);
					prepared = prepared & ~BIT(xid);
					flush();
					leave_proc_array(xid)
				}
			:: d_step {
					prepared = prepared & ~BIT(xid);
					flush();
					leave_proc_array(xid)
				}
			fi
		fi
	} unless {
		life && life != lives && !survives
	}
	d_step { ended++; xid = 0; id = 0; life = 0; survives = false }
}

inline save_cursor()
{
	saved_high = high;
	saved_emitted = emitted;
	for (i : 1 .. IDS) {
		saved_hole[i] = hole[i];
		saved_pending[i] = pending[i]
	}
	i = 0;
#if defined(TOKEN) && !defined(TOKEN_AS_IS) && !defined(TOKEN_FLUSHED)
	do
	:: saved_high && !HAS(emitted, saved_high) ->
		saved_hole[saved_high] = 0;
		saved_pending[saved_high] = 0;
		saved_high--
	:: else -> break
	od;
	i = 0
#endif
}

inline restart_reader()
{
	printf("reader: restarts at high %d\n", saved_high);
	high = saved_high;
	emitted = saved_emitted;
	for (i : 1 .. IDS) {
		hole[i] = saved_hole[i];
		pending[i] = saved_pending[i];
#ifdef TOKEN
		/* an xid that does not exist yet was taken back, and so was whoever drew the id */
		if
		:: hole[i] > next_xid || pending[i] >= next_xid ->
			hole[i] = next_xid;
			pending[i] = 0
		:: else
		fi
#endif
	}
	i = 0;
	gaps = 0; missed = 0; stop_after = 0; stopped = false;
	since_S = 0; due = 0; all_ended = false;
	S_xmin = 0; S_xmax = 0; S_xip = 0
}

inline crash_server()
{
	printf("server: crashes\n");
	crashed = true;
	lives++;
	for (i : 1 .. IDS) {
		assert(!HAS(sent, i) || FLUSHED(i));		/* nothing sent is taken back */
		xmin_of[i] = d_xmin_of[i];
#ifndef TOKEN
		saved_hole[i] = d_saved_hole[i];
		saved_pending[i] = d_saved_pending[i]
#endif
	}
	i = 0;
	logged_xid = d_logged_xid;
	logged_sequence = d_logged_sequence;
	prepared = d_prepared;
	committed = d_committed;
#ifndef TOKEN
	saved_high = d_saved_high;
	saved_emitted = d_saved_emitted;
#endif
	sequence = logged_sequence;
	running = prepared;
	next_xid = logged_xid + 1;
	latest_completed = logged_xid;
	restart_reader();
	forget_flushed()
}

inline forget_flushed()
{
	logged_xid = 0; logged_sequence = 0; sent = 0;
	d_logged_xid = 0; d_logged_sequence = 0; d_prepared = 0; d_committed = 0;
	saved_high = 0; saved_emitted = 0; saves = 0;
#ifndef TOKEN
	d_saved_high = 0; d_saved_emitted = 0;
#endif
	for (i : 1 .. IDS) {
		d_xmin_of[i] = 0;
		saved_hole[i] = 0;
		saved_pending[i] = 0;
#ifndef TOKEN
		d_saved_hole[i] = 0;
		d_saved_pending[i] = 0
#endif
	}
	i = 0
}

#define TROUBLE \
	:: d_step { !crashed -> crash_server() } \
	:: d_step { RESTARTS && !crashed ->  restart_reader() }

active proctype WalWriter()
{
end:
	do
	:: d_step { logged_xid > 0 && !crashed -> flush(); printf("server: flushes WAL\n") }
	od
}

active proctype Reader()
{
	atomic {
		for (i : 0 .. WRITERS - 1) {
			run Writer(i)
		}
		i = 0
	}
end:
	do
	TROUBLE
	:: atomic {
			all_ended = (ended == WRITERS);
			take_snapshot()
		}
		if
		TROUBLE
		:: atomic {
				choose_look();
				d_step {
					step_1();
					step_2();
					check_cycle()
				}
			}
			if
			TROUBLE
			:: atomic {
					make_holes(next_xid)			/* U, AFTER the scan */
				}
				if
				TROUBLE
				/* step 3 */
				:: d_step {
						ALL_FLUSHED ->
						printf("reader: sends\n");
						sent = (crashed -> 0 : sent | emitted)
					}
					/* step 4 */
					if
					:: true
#ifdef TOKEN
					:: d_step {
						!crashed ->
#ifdef TOKEN_FLUSHED
							flush();
#endif
							save_cursor();
							printf("reader: hands out a token, high %d\n", saved_high)
						}
#else
					:: d_step {
						saves < SAVES && !crashed ->
							saves++;
							/* the row's own transaction: its xid is not below any U in it */
							log_xid(next_xid);
							latest_completed = next_xid;
							next_xid++;
							printf("reader: saves its cursor, high %d\n", high);
							save_cursor()
						}
#endif
					fi
				fi
			fi
		fi
	od
}
