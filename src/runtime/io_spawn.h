/*
 * io_spawn.h
 *	  Executing the I/O program.  Private to src/runtime.
 */
#ifndef TE_RUNTIME_IO_SPAWN_H
#define TE_RUNTIME_IO_SPAWN_H

/* path of the program: todo_events.io_program, or the one beside the library; palloc'd */
extern char *te_io_program(void);

/*
 * Start it with this role, fd being its descriptor TE_IO_FD.  Returns 0, or
 * the error's number (then *pid is 0).
 */
extern int	te_io_spawn(const char *path, const char *role, int fd, pid_t *pid);

#endif
