/* SPDX-License-Identifier: MIT */
/*
 * The `upcall` command: finds the command named and hands over.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "cli/cli.h"

static const struct cli_command *const commands[] = { &cli_run, &cli_doctor, &cli_version,
						      &cli_help };
#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct cli_command *find(const char *name)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

void cli_say(const char *fmt, ...)
{
	va_list args;

	fputs("upcall: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

int cli_misused(const struct cli_command *c, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "upcall%s%s: ", c ? " " : "", c ? c->name : "");
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, " (see: upcall %s%s)\n", c ? "help " : "--help", c ? c->name : "");
	return CLI_USAGE;
}

bool cli_written(FILE *to, const char *name)
{
	if (!fflush(to) && !ferror(to))
		return true;
	cli_say("cannot write %s: %s", name, strerror(errno));
	return false;
}

static void print_overview(FILE *to)
{
	size_t i;

	fputs("Usage: upcall COMMAND [options] [arguments]\n\n"
	      "Many-core processes: a program is granted whole cores and runs its own threads on "
	      "them.\n\nCommands:\n",
	      to);
	for (i = 0; i < NR_COMMANDS; i++)
		fprintf(to, "  %-8s  %s\n", commands[i]->name, commands[i]->about);
	fputs("\nOptions:\n"
	      "  -h, --help     this text; behind a command, that command's\n"
	      "  -V, --version  the same as `upcall version`\n"
	      "\nExit status: 0, or 64 for a command or option that makes no sense; each command's "
	      "help names its own.\n",
	      to);
}

static int help_main(const struct cli_command *c, int argc, char **argv)
{
	const struct cli_command *of;
	const char *arg;
	int at = 1, id;

	while ((id = cli_next_option(c, argc, argv, &at, &arg)) >= 0)
		if (id == CLI_OPT_HELP)
			return cli_print_help(c, stdout), CLI_OK;
	if (id == -2)
		return CLI_USAGE;
	if (at == argc)
		return print_overview(stdout), CLI_OK;
	of = find(argv[at]);
	if (!of || at + 1 < argc)
		return cli_misused(NULL, "no command '%s' to help with", argv[of ? at + 1 : at]);
	cli_print_help(of, stdout);
	return CLI_OK;
}

static const struct cli_option help_options[] = {
	{ "help", 'h', NULL, "this text", CLI_OPT_HELP },
	{ NULL, 0, NULL, NULL, 0 },
};

const struct cli_command cli_help = {
	.name = "help",
	.usage = "[command]",
	.about = "what there is, or what a command does",
	.more = "Exit status: 0; 64 there is no such command.\n",
	.options = help_options,
	.main = help_main,
};

int main(int argc, char **argv)
{
	const struct cli_command *c;
	int status;

	if (argc < 2)
		return cli_misused(NULL, "a command is missing");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_overview(stdout);
		return cli_written(stdout, "stdout") ? CLI_OK : CLI_FAILED;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		c = &cli_version;
	else
		c = find(argv[1]);
	if (!c && argv[1][0] == '-')
		return cli_misused(NULL, "no option '%s'", argv[1]);
	if (!c)
		return cli_misused(NULL, "no command '%s'", argv[1]);
	status = c->main(c, argc - 1, argv + 1);
	if (!cli_written(stdout, "stdout") && status == CLI_OK)
		status = CLI_FAILED;
	return status;
}
