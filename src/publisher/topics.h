/*-------------------------------------------------------------------------
 *
 * topics.h
 *	  Topics as SQL and the views see them: is one configured, and what has
 *	  the broker said about it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_PUBLISHER_TOPICS_H
#define TE_PUBLISHER_TOPICS_H

#include "publisher/routes.h"
#include "wire.h"

/* is there a row in todo_events.topic_config?  In a transaction. */
extern bool te_topic_exists(const char *name);

/* ERRCODE_TE_NOT_FOUND if there is none */
extern void te_topic_check(const char *name);

/* a TOPIC_STATE frame: keep it for the view todo_events.topics, and as health; false if it is malformed */
extern bool te_topic_state(TeWireIn *in);

/* text from outside, cut to size and made printable in the database's encoding */
extern void te_outside_text(char *to, size_t size, TeWireStr from);

/*
 * Forgets topics that are not configured any more; true if messages may have
 * been waiting for one of them, which the broker will not have them for.
 */
extern bool te_topic_states_prune(void);

/* nothing is known any more: no publisher runs */
extern void te_topic_states_clear(void);

#endif
