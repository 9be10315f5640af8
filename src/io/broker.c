/*-------------------------------------------------------------------------
 *
 * broker.c
 *	  The status of component "broker": one line when it changes.
 *
 *-------------------------------------------------------------------------
 */
#include "broker.h"

#include <inttypes.h>
#include <stdio.h>

#include "report.h"

#define MS					INT64_C(1000)
#define FIRST_ANSWER		(5000 * MS)	/* after that, silence is a problem */
#define SUSPECT_GRACE		(300 * MS)	/* a probe answers within this if it was only idleness */
#define STALL				(5000 * MS)	/* without any acknowledgement */
#define QUIET				(5000 * MS)	/* between different causes */
#define REFUSED_RECURS		(30000 * MS)	/* an address that is still refused is so again by then */
#define CAUSE_RECURS		(90000 * MS)	/* a cause that lasts is heard of again by then: the library holds back the same for 30 s */

static TeToldCause *
find_told(TeBroker *broker, const char *message)
{
	for (int i = 0; i < TE_TOLD_CAUSES; i++)
		if (strcmp(broker->told[i].message, message) == 0)
			return &broker->told[i];
	return NULL;
}

/* takes the place of the one not seen for longest */
static void
note_told(TeBroker *broker, const char *message, int64_t now)
{
	TeToldCause *told = find_told(broker, message);

	for (int i = 0; told == NULL && i < TE_TOLD_CAUSES; i++)
		if (*broker->told[i].message == '\0')
			told = &broker->told[i];
	if (told == NULL)
	{
		told = broker->told;
		for (int i = 1; i < TE_TOLD_CAUSES; i++)
			if (broker->told[i].seen < told->seen)
				told = &broker->told[i];
	}
	snprintf(told->message, sizeof(told->message), "%s", message);
	told->seen = now;
}

/*
 * Several brokers, or addresses of one, that are down fail by turns.  What was
 * told and lasts is not told again each time; it is when what was told after
 * it no longer is.
 */
static bool
is_old_news(TeBroker *broker, const char *message, int64_t now)
{
	TeToldCause *told = find_told(broker, message);
	TeToldCause *latest = find_told(broker, broker->announced);
	bool		lasts;

	if (told == NULL)
		return false;
	lasts = now - told->seen < CAUSE_RECURS;
	told->seen = now;
	return lasts && (told == latest || (latest && now - latest->seen < CAUSE_RECURS));
}

static void
announce(TeBroker *broker, TeWireLevel level, const char *message, const char *hint, int64_t now)
{
	te_report_status(broker->out, level, "broker", message, hint);
	snprintf(broker->announced, sizeof(broker->announced), "%s", message);
	note_told(broker, message, now);
	broker->quiet_until = now + QUIET;
}

static void
announce_trouble(TeBroker *broker, int64_t now)
{
	char		message[sizeof(broker->cause.message)];

	if (*broker->cause.message == '\0')
	{
		snprintf(broker->cause.message, sizeof(broker->cause.message),
				 "no broker of todo_events.brokers (%s) can be reached", broker->brokers);
		snprintf(broker->cause.hint, sizeof(broker->cause.hint),
				 "Check that the brokers run, and the addresses in todo_events.brokers.");
	}
	snprintf(message, sizeof(message), "%s", broker->cause.message);
	if (strcmp(message, broker->announced) != 0)
		announce(broker, TE_LEVEL_ERROR, message, broker->cause.hint, now);
}

void
te_broker_init(TeBroker *broker, TeWriter *out, const char *brokers, bool embedded, int64_t now)
{
	char		message[300];

	memset(broker, 0, sizeof(*broker));
	broker->out = out;
	snprintf(broker->brokers, sizeof(broker->brokers), "%s", brokers);
	broker->embedded = embedded;
	broker->since = broker->progress = now;
	snprintf(message, sizeof(message), "connecting to %s", broker->brokers);
	te_report_status(out, TE_LEVEL_INFO, "broker", message, "");
}

void
te_broker_alive(TeBroker *broker, int64_t now)
{
	broker->progress = now;
	if (broker->state == TE_BROKER_OK && !broker->stalled)
		return;

	/* a suspicion that proved wrong was never told, so need not be taken back */
	if (broker->state != TE_BROKER_SUSPECT || broker->stalled)
	{
		if (broker->embedded)
		{
			char		hint[sizeof(broker->brokers) + 100];

			snprintf(hint, sizeof(hint),
					 "Clients reach it at %s. Set todo_events.brokers to a real cluster.",
					 broker->brokers);
			te_report_status(broker->out, TE_LEVEL_WARNING, "broker",
							 "degraded: demo broker, memory only", hint);
		}
		else
			te_report_status(broker->out, TE_LEVEL_OK, "broker", "connected", "");
	}
	broker->state = TE_BROKER_OK;
	broker->stalled = false;
	broker->since = now;
	broker->quiet_until = 0;
	broker->announced[0] = '\0';
	broker->cause.message[0] = '\0';
	memset(broker->told, 0, sizeof(broker->told));
}

void
te_broker_trouble(TeBroker *broker, const TeTrouble *trouble, int64_t now)
{
	/*
	 * While some broker is known to work, trouble with another is the
	 * library's business: it only explains what may come.
	 */
	if (*trouble->message)
	{
		bool		other = strcmp(trouble->message, broker->cause.message) != 0;
		bool		both_refused = trouble->refused && broker->cause.refused &&
			*broker->cause.message;

		if (broker->state == TE_BROKER_DOWN && !both_refused &&
			is_old_news(broker, trouble->message, now))
			return;
		/* a host with several refused addresses is one cause, not one after another */
		if (!(other && both_refused && now - broker->refused_at < REFUSED_RECURS))
		{
			broker->cause = *trouble;
			broker->refused_at = now;
		}
	}
	if (broker->state == TE_BROKER_OK && trouble->all_down)
	{
		broker->state = TE_BROKER_SUSPECT;
		broker->since = now;
	}
}

int64_t
te_broker_step(TeBroker *broker, uint64_t awaited, int64_t now)
{
	int64_t		due = TE_NEVER;
	char		message[200];

	if (awaited == 0)
		broker->progress = now;

	switch (broker->state)
	{
		case TE_BROKER_SUSPECT:
			due = broker->since + SUSPECT_GRACE;
			break;
		case TE_BROKER_CONNECTING:
			due = *broker->cause.message ? now : broker->since + FIRST_ANSWER;
			break;
		case TE_BROKER_DOWN:
			/* still down, but perhaps for another reason */
			if (*broker->cause.message && strcmp(broker->cause.message, broker->announced) != 0)
				due = broker->quiet_until;
			break;
		case TE_BROKER_OK:
			if (awaited > 0 && !broker->stalled)
				due = broker->progress + STALL;
			break;
	}
	if (due > now)
		return due;

	if (broker->state == TE_BROKER_OK)
	{
		broker->stalled = true;
		/* some brokers work, and a partition is led by one that we refuse */
		if (broker->cause.refused && *broker->cause.message &&
			now - broker->refused_at < REFUSED_RECURS)
		{
			announce(broker, TE_LEVEL_ERROR, broker->cause.message, broker->cause.hint, now);
			return TE_NEVER;
		}
		snprintf(message, sizeof(message),
				 "Kafka has acknowledged nothing for %d s, %" PRIu64 " messages wait",
				 (int) (STALL / MS / 1000), awaited);
		announce(broker, TE_LEVEL_WARNING, message,
				 "The brokers of todo_events.brokers are connected but do not answer, or have too "
				 "few in-sync replicas.", now);
		return TE_NEVER;
	}
	broker->state = TE_BROKER_DOWN;
	announce_trouble(broker, now);
	return TE_NEVER;
}
