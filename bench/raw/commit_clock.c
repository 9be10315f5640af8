/*
 * commit_clock.c - one-row transactions at a given rate, with the time of each commit's reply
 *
 * usage: commit_clock --count N --rate N [--warm-up N] [--table NAME]
 *
 * Connects as libpq's environment says. Each row's title is "clock <number>";
 * prints "<number> <microseconds since the epoch at which the reply was read>"
 * for each, so that whoever sees the event can subtract.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long long
clock_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void
wait_until(long long us)
{
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
		;
}

int
main(int argc, char **argv)
{
	long		count = 2000;
	long		warm_up = 200;
	long		rate = 200;
	const char *table = "public.tasks";
	char		statement[512];
	PGconn	   *conn;
	PGresult   *result;
	long long	start;
	long long  *replies;

	for (int i = 1; i + 1 < argc; i += 2)
	{
		if (strcmp(argv[i], "--count") == 0)
			count = atol(argv[i + 1]);
		else if (strcmp(argv[i], "--rate") == 0)
			rate = atol(argv[i + 1]);
		else if (strcmp(argv[i], "--warm-up") == 0)
			warm_up = atol(argv[i + 1]);
		else if (strcmp(argv[i], "--table") == 0)
			table = argv[i + 1];
		else
		{
			fprintf(stderr, "commit_clock: unknown option %s\n", argv[i]);
			return 2;
		}
	}
	if (count < 1 || rate < 1 || warm_up < 0)
	{
		fprintf(stderr, "commit_clock: --count and --rate must be positive\n");
		return 2;
	}

	conn = PQconnectdb("");
	if (PQstatus(conn) != CONNECTION_OK)
	{
		fprintf(stderr, "commit_clock: %s", PQerrorMessage(conn));
		return 1;
	}
	snprintf(statement, sizeof(statement),
			 "INSERT INTO %s (user_id, title) VALUES (gen_random_uuid(), $1)", table);
	result = PQprepare(conn, "insert", statement, 1, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
	{
		fprintf(stderr, "commit_clock: %s", PQerrorMessage(conn));
		return 1;
	}
	PQclear(result);

	replies = calloc(count, sizeof(*replies));
	start = clock_us(CLOCK_MONOTONIC);
	for (long i = -warm_up; i < count; i++)
	{
		char		title[64];
		const char *value = title;

		snprintf(title, sizeof(title), "clock %ld", i);
		wait_until(start + (i + warm_up) * 1000000LL / rate);
		result = PQexecPrepared(conn, "insert", 1, &value, NULL, NULL, 0);
		if (i >= 0)
			replies[i] = clock_us(CLOCK_REALTIME);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
		{
			fprintf(stderr, "commit_clock: %s", PQerrorMessage(conn));
			return 1;
		}
		PQclear(result);
	}
	for (long i = 0; i < count; i++)
		printf("%ld %lld\n", i, replies[i]);
	PQfinish(conn);
	free(replies);
	return 0;
}
