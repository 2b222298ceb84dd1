#!/bin/sh
# Runs the small parallel program that shows what happened to its cores.
set -eu
cd "$(dirname "$0")/.."
program=${BUILD:-build}/examples/parallel
if [ ! -x "$program" ]; then
    echo "run: $program has not been built" >&2
    exit 1
fi
exec "$program" "$@"
