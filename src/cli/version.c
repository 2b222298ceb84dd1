/* SPDX-License-Identifier: MIT */
/*
 * `upcall version`: which one this is, and what it was built with.
 */
#include <cjson/cJSON.h>
#include <gnu/libc-version.h>
#include <stdlib.h>
#include <string.h>
#include <upcall/upcall.h>

#include "abi/run.h"
#include "cli/cli.h"

#define TEXT_(x) #x
#define TEXT(x)	 TEXT_(x)
#define VERSION \
	TEXT(UPCALL_VERSION_MAJOR) "." TEXT(UPCALL_VERSION_MINOR) "." TEXT(UPCALL_VERSION_PATCH)

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif
#ifdef __OPTIMIZE__
#define OPTIMISED true
#else
#define OPTIMISED false
#endif

static void print_text(void)
{
	printf("upcall %s\n", VERSION);
	printf("  boundary    %u (page of `upcall run`: %u)\n", UPABI_VERSION, UPABI_RUN_VERSION);
	printf("  built with  %s, glibc %d.%d, for %s%s\n", COMPILER, __GLIBC__, __GLIBC_MINOR__,
	       UP_CLI_CPU, OPTIMISED ? "" : ", not optimised");
	printf("  runs with   glibc %s\n", gnu_get_libc_version());
}

static int print_json(void)
{
	cJSON *o = cJSON_CreateObject(), *built;
	char built_libc[32];
	char *text;

	snprintf(built_libc, sizeof(built_libc), "%d.%d", __GLIBC__, __GLIBC_MINOR__);
	cJSON_AddStringToObject(o, "version", VERSION);
	cJSON_AddNumberToObject(o, "abi", UPABI_VERSION);
	cJSON_AddNumberToObject(o, "run_page", UPABI_RUN_VERSION);
	built = cJSON_AddObjectToObject(o, "built_with");
	cJSON_AddStringToObject(built, "compiler", COMPILER);
	cJSON_AddStringToObject(built, "glibc", built_libc);
	cJSON_AddStringToObject(built, "cpu", UP_CLI_CPU);
	cJSON_AddBoolToObject(built, "optimised", OPTIMISED);
	cJSON_AddStringToObject(o, "glibc", gnu_get_libc_version());
	text = cJSON_Print(o);
	cJSON_Delete(o);
	if (!text) {
		cli_say("no memory");
		return CLI_FAILED;
	}
	puts(text);
	free(text);
	return CLI_OK;
}

static int version_main(const struct cli_command *c, int argc, char **argv)
{
	bool json;
	int r = cli_json_only(c, argc, argv, &json);

	if (r >= 0)
		return r;
	if (json)
		return print_json();
	print_text();
	return CLI_OK;
}

static const struct cli_option options[] = {
	{ "json", 0, NULL, "one JSON object", 256 },
	{ "help", 'h', NULL, "this text", CLI_OPT_HELP },
	{ NULL, 0, NULL, NULL, 0 },
};

const struct cli_command cli_version = {
	.name = "version",
	.usage = "[--json]",
	.about = "which version this is, and what it was built with",
	.more = "Exit status: 0; 64 misuse.\n",
	.options = options,
	.main = version_main,
};
