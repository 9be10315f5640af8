/*-------------------------------------------------------------------------
 *
 * io_process.c
 *	  Starting, feeding, watching and burying one I/O process.
 *
 *	   STOPPED --te_io_start--> WAITING --due--> GREETING --HELLO--> UP
 *	   GREETING, UP --EOF, bad frame, timeout--> WAITING (backoff)
 *
 * The process is a child of the engine and is reaped here, by its own pid;
 * the engine has no SIGCHLD handler.  It leaves when its end of the pair is
 * closed, which the kernel does even when the engine is killed.
 *
 * Its frames are judged like any outside bytes: what is too long, unknown or
 * badly formed costs the process its life, and nothing else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "runtime/bytes.h"
#include "runtime/clock.h"
#include "runtime/compat.h"
#include "runtime/io_process.h"
#include "runtime/io_spawn.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "runtime/version.h"
#include "runtime/worker.h"
#include "utils/memutils.h"

#define BACKOFF_BASE_MS		50
#define BACKOFF_CAP_MS		30000
#define STABLE_US			(10 * INT64CONST(1000000))
#define GREETING_US			(10 * INT64CONST(1000000))	/* so long may it take to say HELLO */
#define LEAVE_MS			100		/* so long may it take to leave when told to */
#define READ_CHUNK			(64 * 1024)
#define READ_PER_EVENT		(1024 * 1024)	/* then other sockets have their turn */
#define MAX_PROCESSES		16

typedef enum IoState
{
	IO_STOPPED,
	IO_WAITING,
	IO_GREETING,
	IO_UP
} IoState;

struct TeIoProcess
{
	const char *role;
	TeIoCallbacks callbacks;
	void	   *arg;
	int			owner;			/* role of the engine, for todo_events.workers */
	IoState		state;
	int			fd;
	pid_t		pid;
	pid_t		dying;			/* ended or told to, not yet reaped; 0 if none */
	int64		dying_since;
	int64		started_at;
	int64		restart_at;
	int			failures;		/* in a row */
	bool		unready;		/* the one that is dying never greeted */
	bool		told;			/* the log knows that it cannot be started */
	TeBytes		in;
	TeBytes		out;
	size_t		frame;			/* where the frame begun last starts in out */
	uint16		frame_type;
};

static TeIoProcess *processes[MAX_PROCESSES];
static int	nprocesses = 0;

static void readable(void *arg, int fd, uint32 events);

/* ---- death ------------------------------------------------------------ */

static const char *
describe_exit(int status)
{
	if (WIFSIGNALED(status))
		return psprintf("was terminated by signal %d: %s", WTERMSIG(status), pg_strsignal(WTERMSIG(status)));
	switch (WEXITSTATUS(status))
	{
		case TE_IO_EXIT_EOF:
			return "left";
		case TE_IO_EXIT_WIRE:
			return "left because of a frame that it did not understand";
		case TE_IO_EXIT_RESTART:
			return "asked for a fresh start";
		case 127:
			return "could not be executed";
		default:
			return psprintf("exited with code %d", WEXITSTATUS(status));
	}
}

/* true once there is nothing left to reap */
static bool
reap(TeIoProcess *io, bool wait)
{
	int			status;
	pid_t		pid;

	if (io->dying == 0)
		return true;
	do
		pid = waitpid(io->dying, &status, wait ? 0 : WNOHANG);
	while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return false;
	if (pid == io->dying && io->state != IO_STOPPED)
	{
		ereport(LOG,
				errmsg("todo_events: I/O process \"%s\" (PID %d) %s; it is started again",
					   io->role, (int) io->dying, describe_exit(status)));
		/* a library that it lacks, or no program of ours: it may never be ready */
		if (io->unready)
		{
			char		component[TE_HEALTH_COMPONENT];

			snprintf(component, sizeof(component), "io:%s", io->role);
			te_worker_health(io->failures > 1 ? 3 : 2, component,
							 psprintf("the I/O program \"%s\" %s before it was ready",
									  te_io_program(), describe_exit(status)),
							 "What it has to say is in the server's log. It is started again by itself.");
		}
	}
	io->dying = 0;
	return true;
}

/*
 * Give up the conversation.  The process sees EOF and leaves; one that does
 * not is killed when the next is due.
 */
static void
hang_up(TeIoProcess *io, bool kill_it)
{
	if (io->fd >= 0)
	{
		te_worker_unwatch(io->fd);
		close(io->fd);
		io->fd = -1;
	}
	if (io->pid != 0)
	{
		if (kill_it)
			kill(io->pid, SIGKILL);
		io->dying = io->pid;
		io->dying_since = te_clock_monotonic();
		io->pid = 0;
	}
	te_bytes_discard(&io->in);
	te_bytes_discard(&io->out);
}

/* wait for it to leave, a little while; then it has to */
static void
bury(TeIoProcess *io)
{
	for (int i = 0; i < LEAVE_MS; i++)
	{
		if (reap(io, false))
			return;
		pg_usleep(1000);
	}
	kill(io->dying, SIGKILL);
	reap(io, true);
}

static void
went_down(TeIoProcess *io, const char *why)
{
	bool		was_up = io->state == IO_UP;
	int64		now = te_clock_monotonic();
	char		component[TE_HEALTH_COMPONENT];

	if (was_up && now - io->started_at > STABLE_US)
		io->failures = 0;
	io->state = IO_WAITING;
	io->restart_at = io->failures == 0 ? now :
		now + (int64) te_clock_backoff_ms(io->failures - 1, BACKOFF_BASE_MS, BACKOFF_CAP_MS) * 1000;
	io->failures++;
	io->unready = !was_up && why == NULL;
	hang_up(io, true);
	reap(io, false);
	te_worker_note_io(io->owner, 0, true, NULL, 0);
	if (why)
	{
		snprintf(component, sizeof(component), "io:%s", io->role);
		te_worker_health(2, component, why, "The I/O process is started again by itself.");
	}
	if (was_up && io->callbacks.down)
		io->callbacks.down(io->arg);
}

/* ---- birth ------------------------------------------------------------ */

static void
greet(TeIoProcess *io)
{
	size_t		max = 4 + 4 + strlen(te_version) + 4 + strlen(io->role);
	char	   *start = te_io_frame_begin(io, TE_FRAME_HELLO, max);
	char	   *p = start;

	p = te_wire_put_u32(p, TE_WIRE_VERSION);
	p = te_wire_put_str(p, te_version, strlen(te_version));
	p = te_wire_put_str(p, io->role, strlen(io->role));
	te_io_frame_end(io, p - start);
	te_io_flush(io);
}

/* with another version's files, a server that runs on may have lost its own */
static void
not_started(TeIoProcess *io, const char *path, int error)
{
	const char *hint = error == ENOENT ?
		psprintf("Install version %s of the program there; if another version of todo_events has been installed since the server was started, restart the server.",
				 te_version) :
		"The I/O process is started again by itself.";
	char		component[TE_HEALTH_COMPONENT];

	went_down(io, NULL);
	snprintf(component, sizeof(component), "io:%s", io->role);
	te_worker_health(2, component, psprintf("could not start \"%s\": %s", path, strerror(error)), hint);
	if (!io->told)
		ereport(LOG,
				errmsg("todo_events: could not start \"%s\": %s", path, strerror(error)),
				errhint("%s", hint));
	io->told = true;
}

static void
launch(TeIoProcess *io)
{
	char	   *path = te_io_program();
	int			pair[2];
	int			rc;

	/* one that did not leave at EOF has had its time */
	if (io->dying != 0 && !reap(io, false))
		bury(io);

	/* close-on-exec, so that no other child of this process inherits them */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
	{
		int			saved = errno;

		errno = saved;
		went_down(io, psprintf("could not create a socket pair: %s", strerror(saved)));
		return;
	}
	rc = te_io_spawn(path, io->role, pair[1], &io->pid);
	close(pair[1]);
	if (rc != 0)
	{
		close(pair[0]);
		not_started(io, path, rc);
		return;
	}
	fcntl(pair[0], F_SETFL, fcntl(pair[0], F_GETFL) | O_NONBLOCK);
	io->fd = pair[0];
	io->state = IO_GREETING;
	io->started_at = te_clock_monotonic();
	te_worker_note_io(io->owner, io->pid, false, NULL, 0);
	te_worker_watch(io->fd, WL_SOCKET_READABLE, readable, io);
	greet(io);
}

/* ---- frames in -------------------------------------------------------- */

/* text from outside, made printable in the database's encoding; palloc'd */
static char *
printable(TeWireStr s)
{
	char	   *text = pnstrdup(s.data ? s.data : "", s.data ? s.len : 0);
	bool		valid = pg_verifymbstr(text, strlen(text), true);

	for (char *p = text; *p; p++)
		if ((unsigned char) *p < 0x20 || *p == 0x7f || (!valid && (unsigned char) *p > 0x7f))
			*p = '?';
	return text;
}

static bool
hello(TeIoProcess *io, TeWireIn *in)
{
	uint32		version = te_wire_get_u32(in);
	TeWireStr	build = te_wire_get_str(in);
	TeWireStr	versions = te_wire_get_str(in);
	char		component[TE_HEALTH_COMPONENT];

	snprintf(component, sizeof(component), "io:%s", io->role);
	if (in->bad)
		return false;
	if (version != TE_WIRE_VERSION || build.data == NULL || build.len != strlen(te_version) ||
		memcmp(build.data, te_version, build.len) != 0)
	{
		went_down(io, NULL);
		te_worker_health(3, component,
						 psprintf("the I/O program is version %s (frames %u), the library is version %s (frames %u)",
								  printable(build), version, te_version, TE_WIRE_VERSION),
						 "Install both from the same build, and restart the server if the library was preloaded.");
		return true;
	}
	io->state = IO_UP;
	io->told = false;
	te_worker_health(0, component, "", NULL);
	te_worker_note_io(io->owner, io->pid, false, versions.data ? versions.data : "",
					  versions.data ? versions.len : 0);
	if (io->callbacks.up)
		io->callbacks.up(io->arg, versions);
	return true;
}

static bool
log_line(TeIoProcess *io, TeWireIn *in)
{
	uint8		level = te_wire_get_u8(in);
	TeWireStr	message = te_wire_get_str(in);

	if (!te_wire_done(in))
		return false;
	ereport(level >= TE_LEVEL_WARNING ? WARNING : LOG,
			errmsg("todo_events: %s: %s", io->role, printable(message)));
	return true;
}

static bool
status(TeWireIn *in)
{
	uint8		level = te_wire_get_u8(in);
	TeWireStr	component = te_wire_get_str(in);
	TeWireStr	message = te_wire_get_str(in);
	TeWireStr	hint = te_wire_get_str(in);

	if (!te_wire_done(in) || component.data == NULL || level > TE_LEVEL_ERROR)
		return false;
	/* OK takes a complaint away; INFO is a line that says that all is well */
	te_worker_health(level, printable(component), printable(message),
					 hint.data ? printable(hint) : NULL);
	return true;
}

static bool
known_from_io(uint16 type)
{
	switch (type)
	{
#define X(name, number) case TE_FRAME_##name:
			TE_WIRE_FRAMES(X)
#undef X
			return type == TE_FRAME_HELLO || type >= TE_FRAME_READY;
		default:
			return false;
	}
}

/* one frame; false if it is a bad one.  May leave io in another state. */
static bool
deliver(TeIoProcess *io, uint16 type, TeWireIn *in)
{
	if (io->state == IO_GREETING)
	{
		/* it may explain itself before, or instead of, greeting */
		if (type == TE_FRAME_LOG)
			return log_line(io, in);
		if (type == TE_FRAME_STATUS)
			return status(in);
		return type == TE_FRAME_HELLO && hello(io, in);
	}
	switch (type)
	{
		case TE_FRAME_HELLO:
			return false;
		case TE_FRAME_LOG:
			return log_line(io, in);
		case TE_FRAME_STATUS:
			return status(in);
		default:
			io->callbacks.frame(io->arg, type, in);
			return !in->bad;
	}
}

/* all whole frames in the buffer; false if the conversation is over */
static bool
take_frames(TeIoProcess *io)
{
	pid_t		pid = io->pid;

	while (io->in.tail - io->in.head >= TE_WIRE_HEADER)
	{
		TeWireIn	in = te_wire_in(io->in.data + io->in.head, TE_WIRE_HEADER);
		uint32		length = te_wire_get_u32(&in);
		uint16		type = te_wire_get_u16(&in);
		uint16		zero = te_wire_get_u16(&in);
		bool		good = length <= TE_WIRE_MAX_BODY && zero == 0 && known_from_io(type);

		if (good && io->in.tail - io->in.head - TE_WIRE_HEADER < length)
		{
			te_bytes_reserve(&io->in, length + TE_WIRE_HEADER);
			return true;
		}
		if (good)
		{
			in = te_wire_in(io->in.data + io->in.head + TE_WIRE_HEADER, length);
			io->in.head += TE_WIRE_HEADER + length;
			good = deliver(io, type, &in);
		}
		/* the callback may have stopped it, or hello() found another version */
		if (io->pid != pid)
			return false;
		if (!good)
		{
			went_down(io, psprintf("the I/O process sent a bad frame (type %u, %u bytes)", type, length));
			return false;
		}
	}
	return true;
}

static void
readable(void *arg, int fd, uint32 events)
{
	TeIoProcess *io = arg;
	size_t		total = 0;

	(void) fd;
	if (events & WL_SOCKET_WRITEABLE)
		te_io_flush(io);
	while (io->fd >= 0 && total < READ_PER_EVENT)
	{
		ssize_t		n;

		te_bytes_reserve(&io->in, READ_CHUNK);
		n = recv(io->fd, io->in.data + io->in.tail, io->in.size - io->in.tail, 0);
		if (n > 0)
		{
			io->in.tail += n;
			total += n;
			if (!take_frames(io))
				return;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		/* EOF, or an error that means the same */
		went_down(io, NULL);
		return;
	}
	te_bytes_shrink(&io->in);
}

/* ---- frames out ------------------------------------------------------- */

char *
te_io_frame_begin(TeIoProcess *io, uint16 type, size_t max_body)
{
	te_bytes_reserve(&io->out, TE_WIRE_HEADER + max_body);
	io->frame = io->out.tail;
	io->frame_type = type;
	return io->out.data + io->frame + TE_WIRE_HEADER;
}

void
te_io_frame_end(TeIoProcess *io, size_t body)
{
	Assert(body <= TE_WIRE_MAX_BODY);
	te_wire_put_header(io->out.data + io->frame, body, io->frame_type);
	io->out.tail = io->frame + TE_WIRE_HEADER + body;
}

void
te_io_flush(TeIoProcess *io)
{
	if (io->fd < 0)
	{
		te_bytes_discard(&io->out);
		return;
	}
	while (io->out.head < io->out.tail)
	{
		ssize_t		n = send(io->fd, io->out.data + io->out.head, io->out.tail - io->out.head,
							 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
		{
			io->out.head += n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		/* full; or broken, which the reading side finds out too */
		break;
	}
	te_worker_watch(io->fd,
					WL_SOCKET_READABLE | (io->out.head < io->out.tail ? WL_SOCKET_WRITEABLE : 0),
					readable, io);
	te_bytes_shrink(&io->out);
}

size_t
te_io_unsent(const TeIoProcess *io)
{
	return io->out.tail - io->out.head;
}

/* ---- life ------------------------------------------------------------- */

TeIoProcess *
te_io_create(const char *role, const TeIoCallbacks *callbacks, void *arg)
{
	TeIoProcess *io;

	if (nprocesses == MAX_PROCESSES)
		elog(ERROR, "too many I/O processes in one engine");
	io = MemoryContextAllocZero(TopMemoryContext, sizeof(TeIoProcess));
	io->role = MemoryContextStrdup(TopMemoryContext, role);
	io->callbacks = *callbacks;
	io->arg = arg;
	io->fd = -1;
	io->state = IO_STOPPED;
	processes[nprocesses++] = io;
	return io;
}

void
te_io_start(TeIoProcess *io)
{
	io->owner = te_worker_current_role();
	if (io->state != IO_STOPPED)
		return;
	io->state = IO_WAITING;
	io->failures = 0;
	io->restart_at = 0;
	launch(io);
}

void
te_io_stop(TeIoProcess *io)
{
	io->state = IO_STOPPED;
	hang_up(io, false);
	if (io->dying != 0)
		bury(io);
	te_worker_note_io(io->owner, 0, false, NULL, 0);
}

void
te_io_stop_all(void)
{
	/* all are told before the first is waited for */
	for (int i = 0; i < nprocesses; i++)
	{
		processes[i]->state = IO_STOPPED;
		hang_up(processes[i], false);
	}
	for (int i = 0; i < nprocesses; i++)
		if (processes[i]->dying != 0)
			bury(processes[i]);
}

int64
te_io_step(TeIoProcess *io)
{
	int64		now = te_clock_monotonic();

	switch (io->state)
	{
		case IO_STOPPED:
			return TE_NEVER;
		case IO_WAITING:
			reap(io, false);
			if (io->restart_at > now)
				return io->restart_at;
			launch(io);
			return io->state == IO_WAITING ? io->restart_at : io->started_at + GREETING_US;
		case IO_GREETING:
			if (now - io->started_at > GREETING_US)
			{
				went_down(io, psprintf("the I/O process did not greet within %d s",
									   (int) (GREETING_US / 1000000)));
				return io->restart_at;
			}
			return io->started_at + GREETING_US;
		case IO_UP:
			break;
	}
	return TE_NEVER;
}

bool
te_io_is_up(const TeIoProcess *io)
{
	return io->state == IO_UP;
}

int
te_io_pid(const TeIoProcess *io)
{
	return io->pid;
}
