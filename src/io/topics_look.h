/*-------------------------------------------------------------------------
 *
 * topics_look.h
 *	  Between topics.c (messages) and topics_look.c (facts).
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_TOPICS_LOOK_H
#define TE_IO_TOPICS_LOOK_H

#include "topics.h"

/* topics_look.c: begin a look, or hurry the one that waits */
extern void te_topic_look(TeTopics *topics, TeTopic *topic, int64_t due);
extern void te_topic_denied(TeTopics *topics, TeTopic *topic, int code, const char *reason);

/* topics.c: what a look decided */
extern void te_topic_open(TeTopics *topics, TeTopic *topic);
extern void te_topic_refuse(TeTopics *topics, TeTopic *topic, int code);

#endif							/* TE_IO_TOPICS_LOOK_H */
