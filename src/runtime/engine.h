/*
 * engine.h
 *	  The engine's process: private to src/runtime.
 */
#ifndef TE_RUNTIME_ENGINE_H
#define TE_RUNTIME_ENGINE_H

#include "runtime/shmem.h"

/* bgw_function_name of the engine; its argument is the slot's number, bgw_extra the database's oid */
#define TE_ENGINE_FUNCTION	"te_engine_main"

/* settings may have changed: refresh them; does not return if this database has no engine any more */
extern void te_engine_check(void);

/* worker.c: serves this slot's database until the process ends */
extern void te_worker_loop(TeDatabase *slot) pg_attribute_noreturn();

#endif
