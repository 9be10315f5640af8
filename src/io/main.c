/*-------------------------------------------------------------------------
 *
 * main.c
 *	  todo_events_io ROLE: the program that owns the sockets.
 *
 * A worker inside PostgreSQL starts it with its end of a socketpair as
 * descriptor TE_IO_FD.  The process lives exactly as long as that pair: at
 * its end it leaves at once, without flushing anything, because what was not
 * acknowledged is in the event log and will be sent by the next one.
 *
 *-------------------------------------------------------------------------
 */
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "producer.h"
#include "wire.h"

static const struct
{
	const char *name;
	const char *title;			/* at most 15 characters; carries nothing but the role */
	int			(*run) (int fd);
}			roles[] = {
	{"producer", "te_io_producer", te_producer_run},
};
#define ROLE_COUNT ((int) (sizeof(roles) / sizeof(roles[0])))

/*
 * PostgreSQL's own descriptors (its sockets, its WAL) may have been inherited
 * from the worker; a program that talks to a network must not hold them.
 */
static void
close_inherited(void)
{
	DIR		   *dir;
	struct dirent *entry;

	if (close_range(TE_IO_FD + 1, ~0U, 0) == 0)
		return;
	/* an old kernel */
	dir = opendir("/proc/self/fd");
	while (dir && (entry = readdir(dir)) != NULL)
	{
		int			fd = atoi(entry->d_name);

		if (fd > TE_IO_FD && fd != dirfd(dir))
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/*
 * The life of this process hangs on its pair alone.  It ignores what a
 * terminal or a service manager sends to every process, so that a shutdown
 * can still deliver; and it must never die of a signal as an orphan, since a
 * postmaster that is process 1 would take that for a crashed backend.
 */
static void
reset_signals(void)
{
	static const int ignored[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
	sigset_t	none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* when memory runs out, this process is easier to do without than any other */
static void
volunteer_for_oom(void)
{
	int			fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "500", 3) < 0)
	{
		/* not fatal: the kernel will choose by size alone */
	}
	close(fd);
}

/*
 * A frame is a quarter of a megabyte, allocated and freed thousands of times a
 * second.  By default glibc gives such memory back to the system each time,
 * and has the next frame fault in its pages anew.
 */
static void
keep_memory(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, 4 * 1024 * 1024);
	mallopt(M_TRIM_THRESHOLD, 16 * 1024 * 1024);
#endif
}

static void
become_independent(const char *title)
{
	int			null;

	setsid();
	close_inherited();
	reset_signals();
	volunteer_for_oom();
	umask(077);
	prctl(PR_SET_NAME, title);
	null = open("/dev/null", O_RDWR);
	if (null >= 0)
	{
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
}

int
main(int argc, char **argv)
{
	int			type;
	socklen_t	len = sizeof(type);

	if (argc == 2 && strcmp(argv[1], "--version") == 0)
	{
		printf("todo_events_io %s (frames %d)\n", TE_VERSION, TE_WIRE_VERSION);
		return 0;
	}
	for (int i = 0; argc == 2 && i < ROLE_COUNT; i++)
	{
		if (strcmp(argv[1], roles[i].name) != 0)
			continue;
		if (getsockopt(TE_IO_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		{
			fprintf(stderr, "todo_events_io is started by the todo_events extension, "
					"with a socketpair as descriptor %d\n", TE_IO_FD);
			return TE_IO_EXIT_ERROR;
		}
		fcntl(TE_IO_FD, F_SETFD, FD_CLOEXEC);
		fcntl(TE_IO_FD, F_SETFL, fcntl(TE_IO_FD, F_GETFL) | O_NONBLOCK);
		become_independent(roles[i].title);
		keep_memory();
		_exit(roles[i].run(TE_IO_FD));
	}
	fprintf(stderr, "usage: todo_events_io ROLE\nroles:");
	for (int i = 0; i < ROLE_COUNT; i++)
		fprintf(stderr, " %s", roles[i].name);
	fprintf(stderr, "\n");
	return TE_IO_EXIT_ERROR;
}
