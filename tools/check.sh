#!/bin/sh
# Builds, runs the tests, and ends in one line: N passed, N failed.
# --soak runs the long ones instead. Exit 0 only when something ran and nothing failed.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
sets="--setup quick"
log=testlog-quick
if [ "${1:-}" = --soak ]; then
    sets="--setup soak --suite soak --suite emulate"
    log=testlog-soak
fi
rm -f "$build/check-summary.txt" "$build/meson-logs/$log.json"
if ! sh tools/build.sh; then
    echo "check: the build failed" >&2
    echo "0 passed, 1 failed"
    exit 1
fi
# shellcheck disable=SC2086
meson test -C "$build" --no-rebuild --print-errorlogs $sets
status=$?
if [ "$status" -ne 0 ] && [ "$log" = testlog-quick ]; then
    python3 tools/again.py "$build" "$build/meson-logs/$log.json" quick
    status=$?
fi
python3 tools/summary.py "$build/meson-logs/$log.json" "$status" "$build/check-summary.txt"
