/*-------------------------------------------------------------------------
 *
 * routes.h
 *	  Which topics an event goes to, and with which key.
 *
 * todo_events.topic_config and todo_events.route_config, cached in the
 * engine; te_routes_load() reads them again after a change.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_PUBLISHER_ROUTES_H
#define TE_PUBLISHER_ROUTES_H

#include "lib/stringinfo.h"
#include "log/reader.h"

/* what topic_config says of a topic */
typedef struct TeTopic
{
	uint16		number;			/* on the wire; the same for a name as long as the engine lives */
	bool		configured;		/* false: its row is gone */
	bool		by_user;		/* keyed by user rather than by task */
	bool		create;
	int32		partitions;		/* -1: the broker's default */
	int64		retention_ms;	/* -1: the broker's default */
	char	   *name;
} TeTopic;

/* topics of one event; at most 255 (one byte on the wire) */
typedef struct TeTargets
{
	int			n;
	const TeTopic **topics;
	const char *unknown;		/* a topic named by the event that is not configured */
} TeTargets;

/* in a transaction */
extern void te_routes_load(void);

/* all topics ever seen, by number; NULL when there is none of that number */
extern const TeTopic *te_routes_topic(int number);

/* valid until the next call, or te_routes_load */
extern const TeTargets *te_routes_targets(const TeLogRow *row);

/* the Kafka key of a row on a topic, appended to buf; false: none */
extern bool te_routes_key(StringInfo buf, const TeTopic *topic, const TeLogRow *row);

/*
 * Does a route's pattern match?  "group" and "suffix" are of a built-in event
 * ("task", "created"), NULL for a published one; "type" is its full name.
 *
 *	task.*  reminder.*  notification.*		built-in events of that group,
 *	task.created ...						whatever prefix their attachment has
 *	*										every event
 *	com.example.*							types that begin with "com.example."
 *	com.example.thing						exactly that type
 */
extern bool te_route_matches(const char *pattern, const char *group, const char *suffix,
							 const char *type);

#endif
