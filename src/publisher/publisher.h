/*
 * publisher.h
 *	  The publisher role: event log -> todo_events_io producer -> Kafka.
 */
#ifndef TE_PUBLISHER_PUBLISHER_H
#define TE_PUBLISHER_PUBLISHER_H

/* _PG_init */
extern void te_publisher_init(void);

/* is there a destination, todo_events.brokers? */
extern bool te_publisher_enabled(void);

#endif
