/*-------------------------------------------------------------------------
 *
 * memory.h
 *	  Allocation that does not fail: without memory the process leaves, the
 *	  worker starts another, and what was not acknowledged is sent again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_MEMORY_H
#define TE_IO_MEMORY_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire.h"

static inline void *
te_realloc(void *old, size_t size)
{
	void	   *p = realloc(old, size ? size : 1);

	if (p == NULL)
		_exit(TE_IO_EXIT_RESTART);
	return p;
}

static inline void *
te_alloc(size_t size)
{
	return te_realloc(NULL, size);
}

static inline void *
te_alloc0(size_t size)
{
	return memset(te_alloc(size), 0, size);
}

/* a terminated copy of n bytes */
static inline char *
te_strndup(const char *s, size_t n)
{
	char	   *copy = te_alloc(n + 1);

	if (n > 0)
		memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

static inline char *
te_strdup(const char *s)
{
	return te_strndup(s, strlen(s));
}

#endif							/* TE_IO_MEMORY_H */
