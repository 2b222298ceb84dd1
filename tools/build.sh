#!/bin/sh
# Configures the build folder when it is not there yet, and builds everything in it. Folders take
# part as soon as they hold a meson.build; Meson does not notice new ones, so the list of what was
# there is kept, and a change configures anew.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
listed=$build/.folders
there=$(find src tests bench examples docs packaging \
    \( -name meson.build -o -name libupcall.map -o -path 'bench/*.c' -o -path 'examples/*.c' \) |
    sort)
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build"
elif [ "$(cat "$listed" 2>/dev/null)" != "$there" ]; then
    meson setup --reconfigure "$build"
fi
printf '%s\n' "$there" >"$listed"
exec ninja -C "$build"
