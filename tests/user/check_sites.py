#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each symbol that the runtime leaves to libc is failed by test_sites, or is on its list of those
that cannot be refused: so that nobody adds a call that fails unseen.

usage: check_sites.py NM ARCHIVE TEST_SITES WRAPPED...
"""
import subprocess
import sys


def symbols(nm, archive, *options):
    text = subprocess.run([nm, *options, archive], check=True, capture_output=True, text=True)
    return {line.split()[-1] for line in text.stdout.splitlines() if len(line.split()) > 1}


def main():
    nm, archive, test, *wrapped = sys.argv[1:]
    listed = subprocess.run([test, '--list'], check=True, capture_output=True, text=True)
    listed = set(listed.stdout.split())
    wanted = {s for s in symbols(nm, archive, '-u') if not s.startswith(('up_', 'upcall_'))}
    bad = [f'{s}: neither wrapped nor on the list of what cannot be refused'
           for s in sorted(wanted - listed - set(wrapped))]
    bad += [f'{s}: on a list, and not called' for s in sorted((listed | set(wrapped)) - wanted)]
    bad += [f'{s}: wrapped, and on the list of what is not' for s in sorted(listed & set(wrapped))]
    print('\n'.join(bad) or f'{len(wanted)} symbols of libc, {len(wrapped)} of them failed')
    return len(bad) > 0 or len(wanted) < 100


if __name__ == '__main__':
    sys.exit(main())
