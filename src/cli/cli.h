/* SPDX-License-Identifier: MIT */
/*
 * The `upcall` command: what its parts share.  One command a file pair; each returns the exit status.
 */
#ifndef UP_CLI_CLI_H
#define UP_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Exit statuses of our own; `upcall run` otherwise has its program's. */
enum cli_exit {
	CLI_OK = 0,
	CLI_USAGE = 64,	      /* a command, option or value that makes no sense */
	CLI_UNAVAILABLE = 69, /* doctor: upcall cannot run here */
	CLI_FAILED = 125, /* the command itself failed: no memory, a file that cannot be written */
	CLI_CANNOT_EXEC = 126,
	CLI_NOT_FOUND = 127,
};

/* An option, as it is parsed, helped with, and completed. */
struct cli_option {
	const char *name; /* long */
	char letter;	  /* short, 0: none */
	const char *arg;  /* what its argument is called, NULL: it takes none */
	const char *help;
	int id;
};

#define CLI_OPT_HELP 'h'

/* Of a command; options end with a NULL name. */
struct cli_command {
	const char *name;
	const char *usage; /* behind "upcall NAME" */
	const char *about; /* one line */
	const char *more;  /* behind the options */
	const struct cli_option *options;
	int (*main)(const struct cli_command *c, int argc, char **argv);
};

extern const struct cli_command cli_run, cli_doctor, cli_version, cli_help;

/*
 * The next option of argv, up to the first that is none: its id, with its argument in *ret_arg; -1 at
 * the end, with the index of what follows in *at; -2 where there is no such option, or an argument
 * lacks or is one too many, of which the user has been told.  *at begins at 1.
 */
int cli_next_option(const struct cli_command *c, int argc, char **argv, int *at,
		    const char **ret_arg);

/* The options of a command that has --json alone, and no arguments. -1: go on; else its exit status. */
int cli_json_only(const struct cli_command *c, int argc, char **argv, bool *ret_json);

void cli_print_help(const struct cli_command *c, FILE *to);

/* One line to stderr. */
__attribute__((format(printf, 1, 2))) void cli_say(const char *fmt, ...);
/* The same with a hint where to read on; CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_misused(const struct cli_command *c, const char *fmt,
						      ...);

/* Flushed and without an error; says what is wrong and with which file. */
bool cli_written(FILE *to, const char *name);

#endif
