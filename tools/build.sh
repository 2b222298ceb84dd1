#!/bin/sh
# Configures the build folder when it is not there yet, and builds everything in it.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
[ -f "$build/build.ninja" ] || meson setup "$build"
exec ninja -C "$build"
