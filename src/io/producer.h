/*-------------------------------------------------------------------------
 *
 * producer.h
 *	  Role "producer": PUBLISH frames in, messages to Kafka, ACK frames out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_PRODUCER_H
#define TE_IO_PRODUCER_H

/* runs until the pair ends; returns the exit status */
extern int	te_producer_run(int fd);

#endif							/* TE_IO_PRODUCER_H */
