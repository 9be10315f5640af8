/*
 * databases.h
 *	  Which databases are to have an engine, by pg_database and the settings.
 */
#ifndef TE_RUNTIME_DATABASES_H
#define TE_RUNTIME_DATABASES_H

typedef enum TeVerdict
{
	TE_VERDICT_SERVE,			/* if it has the extension, which only a look into it tells */
	TE_VERDICT_LEFT_OUT,		/* todo_events.databases does not name it */
	TE_VERDICT_TEMPLATE,		/* CREATE DATABASE wants it alone, at any time */
	TE_VERDICT_CLOSED,			/* ALLOW_CONNECTIONS false: an engine that is there may stay, none can come */
	TE_VERDICT_GONE				/* dropped, or left invalid by an interrupted DROP DATABASE */
} TeVerdict;

typedef struct TeDatabaseRow
{
	Oid			dboid;
	TeVerdict	verdict;
} TeDatabaseRow;

/* of one database; in a transaction of a process that is connected to one */
extern TeVerdict te_databases_verdict(Oid dboid);

/*
 * Of all, in a transaction of its own, which no connection to a database is
 * needed for; returns how many, oldest first, in memory of the caller's
 * context.
 */
extern int	te_databases_list(TeDatabaseRow **rows);

/* in such a list; TE_VERDICT_GONE if it is not there */
extern TeVerdict te_databases_find(const TeDatabaseRow *rows, int n, Oid dboid);

#endif
