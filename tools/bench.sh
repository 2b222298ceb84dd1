#!/bin/sh
# Runs every benchmark that was built, one after the other; their objects go to BUILD/bench/*.json.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
ran=0
bad=0
for program in "$build"/bench/*; do
    { [ -f "$program" ] && [ -x "$program" ]; } || continue
    ran=$((ran + 1))
    echo "== ${program##*/}"
    if "$program" --json >"$program.json"; then
        python3 tools/bench-table.py "$program.json" || bad=$((bad + 1))
    else
        echo "${program##*/}: failed" >&2
        bad=$((bad + 1))
    fi
done
echo "$ran benchmarks, $bad failed"
[ "$ran" -gt 0 ] && [ "$bad" -eq 0 ]
