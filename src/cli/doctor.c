#include "cli/cli.h"
static int m(const struct cli_command *c, int argc, char **argv)
{
	return 0;
}
static const struct cli_option options[] = { { "json", 0, NULL, "one JSON object", 256 },
					     { "help", 'h', NULL, "this text", CLI_OPT_HELP },
					     { NULL, 0, NULL, NULL, 0 } };
const struct cli_command cli_doctor = { .name = "doctor",
					.usage = "[--json]",
					.about = "what upcall finds here",
					.options = options,
					.main = m };
