/*
 * adopt.h
 *	  Silence of copies, and its end.
 */
#ifndef TE_LOG_ADOPT_H
#define TE_LOG_ADOPT_H

/* raises ERRCODE_TE_NOT_ADOPTED if this database is a copy that nobody has adopted */
extern void te_adopt_require(void);

/* an epoch could not be noted when it began: do it now, in a transaction of the engine */
extern bool te_adopt_to_be_noted(void);
extern void te_adopt_note(void);

extern void te_adopt_init(void);

#endif
