/*
 * engine.h
 *	  The engine's process: private to src/runtime.
 */
#ifndef TE_RUNTIME_ENGINE_H
#define TE_RUNTIME_ENGINE_H

#include "runtime/compat.h"
#include "runtime/shmem.h"

/* bgw_function_name of the engine; its argument is the slot's number, bgw_extra the database's oid */
#define TE_ENGINE_FUNCTION	"te_engine_main"

/* settings may have changed: refresh them; does not return if this database has no engine any more */
extern void te_engine_check(void);

/* what te_engine_check() found: may roles that are not local run? */
extern bool te_engine_may_act(void);

/* worker.c: serves this slot's database until the process ends */
pg_noreturn extern void te_worker_loop(TeDatabase *slot);

/* worker.c: this process's slot; NULL if it is no engine */
extern TeDatabase *te_worker_database(void);

/* status.c: role i of n; error, if not NULL, is its newest */
extern void te_status_role(TeDatabase *db, int i, int nroles, const char *name, bool running,
						   const char *error);

/* a copy that is cut at a character's boundary if need be */
extern void te_status_copy(char *to, const char *from, size_t size);

#endif
