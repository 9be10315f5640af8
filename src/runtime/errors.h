/*
 * errors.h
 *	  SQLSTATEs of our own, class TE.  Everything that PostgreSQL has a code
 *	  for uses PostgreSQL's; these name conditions that an application wants
 *	  to tell apart.  The list is repeated in docs/errors.md.
 */
#ifndef TE_RUNTIME_ERRORS_H
#define TE_RUNTIME_ERRORS_H

#define ERRCODE_TE_NO_WORKER		MAKE_SQLSTATE('T', 'E', '0', '0', '1')	/* no engine serves this database */
#define ERRCODE_TE_NO_DESTINATION	MAKE_SQLSTATE('T', 'E', '0', '0', '2')	/* nothing is configured to deliver to */
#define ERRCODE_TE_NOT_ADOPTED		MAKE_SQLSTATE('T', 'E', '0', '0', '3')	/* a copy of a database, which sends nothing */
#define ERRCODE_TE_VERSION			MAKE_SQLSTATE('T', 'E', '0', '0', '4')	/* the library is older than the extension's objects */
#define ERRCODE_TE_NOT_PERMITTED	MAKE_SQLSTATE('T', 'E', '4', '0', '3')	/* only the server's configuration may say this */
#define ERRCODE_TE_NOT_FOUND		MAKE_SQLSTATE('T', 'E', '4', '0', '4')	/* no such topic, attachment, dead letter ... */
#define ERRCODE_TE_IDEMPOTENCY		MAKE_SQLSTATE('T', 'E', '4', '0', '9')	/* idempotency key used by an earlier transaction */
#define ERRCODE_TE_CURSOR_GONE		MAKE_SQLSTATE('T', 'E', '4', '1', '0')	/* cursor beyond what the log still holds */
#define ERRCODE_TE_TOO_MANY_ROWS	MAKE_SQLSTATE('T', 'E', '4', '1', '3')	/* TRUNCATE of more rows than truncate_limit */
#define ERRCODE_TE_NOT_ATTACHABLE	MAKE_SQLSTATE('T', 'E', '4', '2', '2')	/* this relation cannot be attached, or stay so, and why */
#define ERRCODE_TE_SEQUENCE			MAKE_SQLSTATE('T', 'E', '4', '2', '3')	/* someone else changed the sequence column */
#define ERRCODE_TE_BACKLOGGED		MAKE_SQLSTATE('T', 'E', '4', '2', '9')	/* too many undelivered redrives, try later */
#define ERRCODE_TE_LOG_FULL			MAKE_SQLSTATE('T', 'E', '5', '0', '7')	/* log_full = refuse_writes and the log is full */

#endif
