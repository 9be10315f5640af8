/*-------------------------------------------------------------------------
 *
 * routes.c
 *	  Which topics an event goes to, and with which key.
 *
 * A built-in event's targets depend on its attachment (which gives the type
 * its prefix) and its type only, so they are worked out once and found in a
 * hash table by those two numbers.  A published event names its topic, and
 * goes to what the routes say for its type as well; a redrive goes to the
 * topic it names and nowhere else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "executor/spi.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "log/event.h"
#include "publisher/routes.h"
#include "runtime/own.h"
#include "runtime/settings.h"

#define MAX_TARGETS		255

typedef struct Route
{
	char	   *pattern;
	const TeTopic *topic;
} Route;

typedef struct CacheKey
{
	int32		attachment;
	int32		type;
} CacheKey;

typedef struct CacheEntry
{
	CacheKey	key;
	TeTargets	targets;
} CacheEntry;

/* topics keep their number for the engine's life: the I/O process knows them by it */
static MemoryContext topic_context = NULL;
static int	topic_count = 0;
static int	topic_max = 0;
static TeTopic **topics = NULL;

/* the rest is made anew by each load */
static MemoryContext route_context = NULL;
static int	route_count = 0;
static Route *routes = NULL;
static HTAB *cache = NULL;
static CacheEntry *recent = NULL;

/* targets of published events and redrives, good until the next call */
static MemoryContext scratch = NULL;
static TeTargets named;

static TeTopic *
topic_find(const char *name, int len)
{
	for (int i = 0; i < topic_count; i++)
	{
		if (strncmp(topics[i]->name, name, len) == 0 && topics[i]->name[len] == '\0')
			return topics[i];
	}
	return NULL;
}

static TeTopic *
topic_add(const char *name)
{
	TeTopic    *topic;

	if (topic_count > PG_UINT16_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d topics since the engine's start", PG_UINT16_MAX)));
	if (topic_count == topic_max)
	{
		topic_max = Max(16, topic_max * 2);
		topics = topics == NULL
			? MemoryContextAlloc(topic_context, topic_max * sizeof(TeTopic *))
			: repalloc(topics, topic_max * sizeof(TeTopic *));
	}
	topic = MemoryContextAllocZero(topic_context, sizeof(TeTopic));
	topic->name = MemoryContextStrdup(topic_context, name);
	topic->number = (uint16) topic_count;
	topics[topic_count++] = topic;
	return topic;
}

const TeTopic *
te_routes_topic(int number)
{
	return number >= 0 && number < topic_count ? topics[number] : NULL;
}

static void
load_topics(void)
{
	if (SPI_execute("SELECT topic, COALESCE(partitions, -1),"
					" COALESCE((EXTRACT(epoch FROM retention) * 1000)::pg_catalog.int8, -1),"
					" key_by = 'user', create_topic"
					" FROM todo_events.topic_config ORDER BY topic", true, 0) != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not read todo_events.topic_config")));

	for (int i = 0; i < topic_count; i++)
		topics[i]->configured = false;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *name = SPI_getvalue(tuple, desc, 1);
		TeTopic    *topic = topic_find(name, strlen(name));
		bool		isnull;

		if (topic == NULL)
			topic = topic_add(name);
		topic->partitions = DatumGetInt32(SPI_getbinval(tuple, desc, 2, &isnull));
		topic->retention_ms = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
		topic->by_user = DatumGetBool(SPI_getbinval(tuple, desc, 4, &isnull));
		topic->create = DatumGetBool(SPI_getbinval(tuple, desc, 5, &isnull));
		topic->configured = true;
	}
	SPI_freetuptable(SPI_tuptable);
}

static void
load_routes(void)
{
	if (SPI_execute("SELECT pattern, topic FROM todo_events.route_config"
					" ORDER BY topic, pattern", true, 0) != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not read todo_events.route_config")));

	routes = MemoryContextAlloc(route_context, (SPI_processed + 1) * sizeof(Route));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		TeTopic    *topic = topic_find(name, strlen(name));

		/* one from a dump whose topic was not in it leads nowhere */
		if (topic == NULL || !topic->configured)
			continue;
		routes[route_count].pattern =
			MemoryContextStrdup(route_context,
								SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
		routes[route_count++].topic = topic;
	}
	SPI_freetuptable(SPI_tuptable);
}

void
te_routes_load(void)
{
	HASHCTL		control = {0};

	if (topic_context == NULL)
	{
		topic_context = AllocSetContextCreate(TopMemoryContext, "todo_events topics",
											  ALLOCSET_SMALL_SIZES);
		route_context = AllocSetContextCreate(TopMemoryContext, "todo_events routes",
											  ALLOCSET_SMALL_SIZES);
		scratch = AllocSetContextCreate(TopMemoryContext, "todo_events targets",
										ALLOCSET_SMALL_SIZES);
	}

	MemoryContextReset(route_context);
	routes = NULL;
	route_count = 0;
	recent = NULL;
	control.keysize = sizeof(CacheKey);
	control.entrysize = sizeof(CacheEntry);
	control.hcxt = route_context;
	cache = hash_create("todo_events targets", 64, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	/* held, so that the statements' names mean these tables and nothing that came in their place */
	table_close(te_own_table_open("todo_events", "topic_config", AccessShareLock), NoLock);
	table_close(te_own_table_open("todo_events", "route_config", AccessShareLock), NoLock);
	if (SPI_connect() != SPI_OK_CONNECT)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("SPI_connect failed")));
	load_topics();
	load_routes();
	SPI_finish();
}

/* "task" etc.; NULL for events that an application published */
static const char *
event_group(TeEventType type)
{
	if (type >= 1 && type <= 9)
		return "task";
	if (type >= 10 && type <= 19)
		return "reminder";
	if (type >= 20 && type <= 29)
		return "notification";
	return NULL;
}

/* what follows "word." in text; NULL if text does not begin so */
static const char *
after_word(const char *text, const char *word)
{
	size_t		n = strlen(word);

	return strncmp(text, word, n) == 0 && text[n] == '.' ? text + n + 1 : NULL;
}

bool
te_route_matches(const char *pattern, const char *group, const char *suffix, const char *type)
{
	static const char *const groups[] = {"task", "reminder", "notification"};
	size_t		n = strlen(pattern);

	for (size_t i = 0; i < lengthof(groups); i++)
	{
		const char *rest = after_word(pattern, groups[i]);

		if (rest != NULL)
			return group != NULL && strcmp(group, groups[i]) == 0 &&
				(strcmp(rest, "*") == 0 || (suffix != NULL && strcmp(rest, suffix) == 0));
	}

	if (n > 0 && pattern[n - 1] == '*')
		return strncmp(type, pattern, n - 1) == 0;
	return strcmp(type, pattern) == 0;
}

static void
targets_add(TeTargets *targets, const TeTopic *topic)
{
	for (int i = 0; i < targets->n; i++)
	{
		if (targets->topics[i] == topic)
			return;
	}
	if (targets->n < MAX_TARGETS)
		targets->topics[targets->n++] = topic;
}

/* adds what the routes say; targets->topics has room for all of them */
static void
targets_by_routes(TeTargets *targets, const TeLogRow *row)
{
	const char *group = event_group(row->type);
	const char *suffix = group ? te_event_suffix(row->type) : NULL;
	char	   *type = te_event_type_name(row);

	for (int i = 0; i < route_count; i++)
	{
		/* a row that is not of our making may have no type */
		if (te_route_matches(routes[i].pattern, group, suffix, type ? type : ""))
			targets_add(targets, routes[i].topic);
	}
	if (type != NULL)
		pfree(type);
}

static const TeTargets *
targets_by_name(const TeLogRow *row)
{
	MemoryContext caller;
	char	   *name;
	TeTopic    *topic;

	MemoryContextReset(scratch);
	caller = MemoryContextSwitchTo(scratch);
	memset(&named, 0, sizeof(named));
	named.topics = palloc((route_count + 1) * sizeof(TeTopic *));
	name = te_extra_get(row, "topic");
	if (name != NULL)
	{
		topic = topic_find(name, strlen(name));
		if (topic != NULL && topic->configured)
			targets_add(&named, topic);
		else
			named.unknown = name;
	}
	if (row->type == TE_EVENT_CUSTOM && route_count > 0)
		targets_by_routes(&named, row);
	MemoryContextSwitchTo(caller);
	return &named;
}

const TeTargets *
te_routes_targets(const TeLogRow *row)
{
	CacheKey	key = {row->attachment, row->type};

	if (row->type == TE_EVENT_CUSTOM || row->type == TE_EVENT_REDRIVE)
		return targets_by_name(row);

	if (recent != NULL && memcmp(&recent->key, &key, sizeof(key)) == 0)
		return &recent->targets;
	recent = hash_search(cache, &key, HASH_FIND, NULL);
	if (recent == NULL)
	{
		TeTargets	targets = {0};

		/* entered last: an error in between must not leave an event without its targets */
		targets.topics = MemoryContextAlloc(route_context, (route_count + 1) * sizeof(TeTopic *));
		targets_by_routes(&targets, row);
		recent = hash_search(cache, &key, HASH_ENTER, NULL);
		recent->targets = targets;
	}
	return &recent->targets;
}

bool
te_routes_key(StringInfo buf, const TeTopic *topic, const TeLogRow *row)
{
	const TeName *name = &row->key;

	/* a redrive carries the key that its message had */
	if (topic->by_user && row->user.kind != TE_NAME_NONE && row->type != TE_EVENT_REDRIVE)
		name = &row->user;
	if (name->kind == TE_NAME_NONE)
		return false;
	te_name_text(buf, name);
	return true;
}
