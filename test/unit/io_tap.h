/*
 * io_tap.h - TAP for the unit tests in C: ok(), is_str(), is_int(), done()
 */
#ifndef IO_TAP_H
#define IO_TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int	tap_count;
static int	tap_failed;

static bool __attribute__((format(printf, 2, 3), unused))
ok(bool passed, const char *name, ...)
{
	va_list		args;

	printf("%sok %d - ", passed ? "" : "not ", ++tap_count);
	va_start(args, name);
	vprintf(name, args);
	va_end(args);
	printf("\n");
	tap_failed += !passed;
	return passed;
}

static void __attribute__((unused))
is_str(const char *got, const char *want, const char *name)
{
	if (!ok(got && strcmp(got, want) == 0, "%s", name))
		printf("#   got: %s\n#  want: %s\n", got ? got : "NULL", want);
}

static void __attribute__((unused))
is_int(long long got, long long want, const char *name)
{
	if (!ok(got == want, "%s", name))
		printf("#   got: %lld\n#  want: %lld\n", got, want);
}

/* does the text hold this part? */
static void __attribute__((unused))
has_part(const char *text, const char *part, const char *name)
{
	if (!ok(strstr(text, part) != NULL, "%s", name))
		printf("#  text: %s\n# lacks: %s\n", text, part);
}

static int __attribute__((unused))
done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed > 0;
}

#endif
