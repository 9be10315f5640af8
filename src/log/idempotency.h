/*
 * idempotency.h
 *	  todo_events.idempotency_key: one transaction a key and attachment.
 */
#ifndef TE_LOG_IDEMPOTENCY_H
#define TE_LOG_IDEMPOTENCY_H

#include "log/log.h"

extern void te_idempotency_init(void);

/*
 * Claim key for this transaction and the event's attachment, and derive the
 * event's id: uuidv5(database, key, attachment, task's key, ordinal in the
 * transaction).  ERRCODE_TE_IDEMPOTENCY if another transaction used it within
 * the log's retention; waits for one that is using it now.
 */
extern void te_idempotency_claim(const char *key, const TeEventInput *event, pg_uuid_t *id);

/* rotate the ring of keys; true if a segment was emptied */
extern bool te_idempotency_maintain(void);

#endif
