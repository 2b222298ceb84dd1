#!/bin/sh
# Runs the main job, a real one: treesum over DIR (/usr), beside what else would do it. See run.py.
set -eu
cd "$(dirname "$0")/.."
exec python3 tools/run.py
