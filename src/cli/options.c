/* SPDX-License-Identifier: MIT */
/*
 * Options from one table a command: what is parsed is what the help names, and what the completion has
 * is compared with that by a test.
 */
#include <getopt.h>
#include <string.h>

#include "cli/cli.h"

#define MAX_OPTIONS 32

static size_t make_tables(const struct cli_command *c, struct option *longs, char *shorts)
{
	const struct cli_option *o;
	size_t nr = 0;

	*shorts++ = '+'; /* what follows the first word that is no option is not ours */
	*shorts++ = ':';
	for (o = c->options; o->name && nr + 1 < MAX_OPTIONS; o++, nr++) {
		longs[nr] = (struct option){ o->name, o->arg ? required_argument : no_argument,
					     NULL, o->id };
		if (!o->letter)
			continue;
		*shorts++ = o->letter;
		if (o->arg)
			*shorts++ = ':';
	}
	*shorts = 0;
	return nr;
}

static int id_of_letter(const struct cli_command *c, int letter)
{
	const struct cli_option *o;

	for (o = c->options; o->name; o++)
		if (o->id == letter || (o->letter && o->letter == letter))
			return o->id;
	return -2;
}

int cli_next_option(const struct cli_command *c, int argc, char **argv, int *at,
		    const char **ret_arg)
{
	struct option longs[MAX_OPTIONS] = { { 0 } };
	char shorts[2 * MAX_OPTIONS + 3];
	const char *what;
	int got;

	make_tables(c, longs, shorts);
	optind = *at;
	opterr = 0;
	optopt = 0;
	what = *at < argc ? argv[*at] : "";
	got = getopt_long(argc, argv, shorts, longs, NULL);
	*at = optind;
	*ret_arg = optarg;
	if (got == -1)
		return -1;
	if (got != '?' && got != ':')
		return id_of_letter(c, got);
	if (got == ':')
		cli_misused(c, "option '%s' needs an argument", what);
	else if (!strncmp(what, "--", 2) && strchr(what, '='))
		cli_misused(c, "no option '%s', or none with an argument", what);
	else
		cli_misused(c, "no option '%s'", what);
	return -2;
}

void cli_print_help(const struct cli_command *c, FILE *to)
{
	const struct cli_option *o;
	char left[64];

	fprintf(to, "Usage: upcall %s%s%s\n\n%c%s.\n\nOptions:\n", c->name, *c->usage ? " " : "",
		c->usage, c->about[0] - 'a' + 'A', c->about + 1);
	for (o = c->options; o->name; o++) {
		snprintf(left, sizeof(left), "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
			 o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		fprintf(to, "  %-26s  %s\n", left, o->help);
	}
	if (c->more)
		fprintf(to, "\n%s", c->more);
}

int cli_json_only(const struct cli_command *c, int argc, char **argv, bool *ret_json)
{
	const char *arg;
	int at = 1, id;

	*ret_json = false;
	while ((id = cli_next_option(c, argc, argv, &at, &arg)) >= 0) {
		if (id == CLI_OPT_HELP)
			return cli_print_help(c, stdout), CLI_OK;
		*ret_json = true;
	}
	if (id == -2)
		return CLI_USAGE;
	if (at < argc)
		return cli_misused(c, "an argument too many: '%s'", argv[at]);
	return -1;
}
