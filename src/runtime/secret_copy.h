/*
 * secret_copy.h
 *	  While lines of todo_events.secret_input are read, no message quotes one.
 */
#ifndef TE_RUNTIME_SECRET_COPY_H
#define TE_RUNTIME_SECRET_COPY_H

/* around a COPY into secret_input; the end also after an error */
extern void te_secret_copy_begin(void);
extern void te_secret_copy_end(void);

extern void te_secret_copy_init(void);

#endif
