#!/bin/sh
# Sees to it that what the build and the tests need is there. Missing Debian packages are installed
# where apt-get may run; anywhere else one line says what to type, and the exit status is 69. Some
# checks want a tool more (they print SKIP without it): it is fetched where it can be.
set -u
cd "$(dirname "$0")/.." || exit 1

has_cmd() { command -v "$1" >/dev/null 2>&1; }
has_header() { printf '#include <%s>\n' "$1" | c++ -E -x c++ - >/dev/null 2>&1; }
has_lib() { has_cmd pkg-config && pkg-config --exists "$1" 2>/dev/null; }

# need PACKAGE PROBE...: remembers PACKAGE when its probe fails.
need() {
    package=$1
    shift
    "$@" || missing="$missing $package"
}

# wish PACKAGE PROBE...: the same for what the tests can do without.
wish() {
    package=$1
    shift
    "$@" || wished="$wished $package"
}

fetch() { apt-get install -qy --no-install-recommends "$@" </dev/null >/dev/null 2>&1; }

probe() {
    missing=
    wished=
    need gcc has_cmd cc
    need g++ has_cmd c++
    need git has_cmd git
    need meson has_cmd meson
    need ninja-build has_cmd ninja
    need pkg-config has_cmd pkg-config
    need python3 has_cmd python3
    need libcmocka-dev has_lib cmocka
    need libsqlite3-dev has_lib sqlite3
    need libssl-dev has_lib openssl
    need zlib1g-dev has_lib zlib
    need libcjson-dev has_lib libcjson
    need liburing-dev has_lib liburing
    need spin has_cmd spin
    wish clang has_cmd clang
    wish clang-format has_cmd clang-format
    wish gdb has_cmd gdb
    wish zsh has_cmd zsh
    wish systemtap-sdt-dev has_header sys/sdt.h
    # The peers of build/bench/micro, which does not run without them; all else does.
    wish libboost-fiber-dev has_header boost/fiber/policy.hpp
    wish golang-go has_cmd go
    wish libtbb-dev has_lib tbb
}

probe
[ -z "$missing$wished" ] && exit 0

if [ "$(id -u)" = 0 ] && has_cmd apt-get; then
    echo "setup: installing$missing$wished"
    export DEBIAN_FRONTEND=noninteractive
    ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || apt-get update -q >/dev/null 2>&1
    # Lists that are there may be stale: fetch them anew once before giving up.
    # shellcheck disable=SC2086
    fetch $missing $wished || {
        apt-get update -q >/dev/null 2>&1
        fetch $missing $wished || fetch $missing
    }
    probe
fi
[ -z "$missing" ] && exit 0
echo "missing packages; type: sudo apt-get install$missing" >&2
exit 69
