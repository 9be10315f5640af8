/*
 * identity.h
 *	  Who this database is.
 */
#ifndef TE_LOG_IDENTITY_H
#define TE_LOG_IDENTITY_H

#include "utils/uuid.h"

/* the database's uuid: the namespace of its event ids.  Needs a transaction the first time. */
extern const pg_uuid_t *te_identity(void);

extern void te_identity_init(void);

#endif
