/*
 * own.h
 *	  What belongs to the extension, found by name.
 *
 * A name alone proves nothing: the extension's owner can drop it and make
 * schemas and tables of the same names, while an engine (a superuser) or a
 * function is at work.  So whatever is found by name must be a member of the
 * extension.  What is then opened by its OID can have vanished, but cannot
 * have become another.
 */
#ifndef TE_RUNTIME_OWN_H
#define TE_RUNTIME_OWN_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* a table, view, sequence or index of the extension, InvalidOid if there is none; asks for no rights */
extern Oid	te_own_relation(const char *schema, const char *name);

/* the same, locked and open; an error if there is none */
extern Relation te_own_table_open(const char *schema, const char *name, LOCKMODE lockmode);

/* a function of the extension without arguments, InvalidOid if there is none */
extern Oid	te_own_function(const char *schema, const char *name);

#endif
