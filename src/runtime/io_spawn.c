/*-------------------------------------------------------------------------
 *
 * io_spawn.c
 *	  Executing the I/O program: which one, and with what of the server's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include "runtime/compat.h"
#include "runtime/io_spawn.h"
#include "runtime/settings.h"
#include "runtime/version.h"
#include "wire.h"

char *
te_io_program(void)
{
	const char *setting = te_setting_string(TE_SET_IO_PROGRAM);
	Dl_info		info;
	char	   *path;

	if (setting[0])
		return pstrdup(setting);
	if (dladdr((void *) te_io_spawn, &info) == 0 || info.dli_fname == NULL)
		ereport(ERROR,
				errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("could not find out where the todo_events library is"));
	path = pstrdup(info.dli_fname);
	get_parent_directory(path);
	return psprintf("%s/todo_events_io-%s", path, te_version);
}

/*
 * What the I/O process gets to see of the server's environment: nothing that
 * could hold a secret.
 */
static char **
minimal_environment(void)
{
	static const char *const passed[] = {
		"TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", NULL
	};
	char	  **result = palloc0(sizeof(char *) * (lengthof(passed) + 2));
	int			n = 0;

	result[n++] = pstrdup("PATH=/usr/bin:/bin");
	result[n++] = pstrdup("LC_ALL=C");
	for (int i = 0; passed[i]; i++)
	{
		const char *value = getenv(passed[i]);

		if (value)
			result[n++] = psprintf("%s=%s", passed[i], value);
	}
	return result;
}

int
te_io_spawn(const char *path, const char *role, int fd, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t	signals;
	char	   *argv[] = {unconstify(char *, path), unconstify(char *, role), NULL};
	int			rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, fd, TE_IO_FD);
#ifdef TE_HAVE_SPAWN_CLOSEFROM
	posix_spawn_file_actions_addclosefrom_np(&actions, TE_IO_FD + 1);
#endif

	/* none of the server's signal arrangements, and out of the reach of a terminal's */
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes,
							 POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	sigfillset(&signals);
	posix_spawnattr_setsigdefault(&attributes, &signals);
	sigemptyset(&signals);
	posix_spawnattr_setsigmask(&attributes, &signals);

	rc = posix_spawn(pid, path, &actions, &attributes, argv, minimal_environment());
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (rc != 0)
		*pid = 0;
	return rc;
}
