/*
 * room.c
 *	  The order in which the parts of the log room are set up.
 */
#include "postgres.h"

#include "log/adopt.h"
#include "log/idempotency.h"
#include "log/identity.h"
#include "log/log.h"
#include "log/maintain.h"
#include "log/ring.h"
#include "log/role.h"

void
te_log_init(void)
{
	te_ring_init();
	te_identity_init();
	te_adopt_init();
	te_log_append_init();
	te_idempotency_init();
	te_maintain_init();
	te_log_role_init();
}
