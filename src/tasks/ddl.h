/*
 * ddl.h
 *	  What DDL on attached tables, and on their partitions, asks of us.
 */
#ifndef TE_TASKS_DDL_H
#define TE_TASKS_DDL_H

#include "nodes/parsenodes.h"

/* alter.c: columns that have a role change their type, or go */
extern void te_alter_begin(AlterTableStmt *statement);
extern void te_alter_end(AlterTableStmt *statement);
extern void te_alter_init(void);

/* partition.c: partitions come and go */
extern void te_partition_begin(AlterTableStmt *statement);
extern void te_partition_end(Node *statement);

#endif
