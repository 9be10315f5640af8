/*
 * publisher.h
 *	  The publisher role: event log -> todo_events_io producer -> Kafka.
 */
#ifndef TE_PUBLISHER_PUBLISHER_H
#define TE_PUBLISHER_PUBLISHER_H

extern void te_publisher_init(void);

#endif
