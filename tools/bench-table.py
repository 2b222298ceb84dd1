#!/usr/bin/env python3
"""Prints one benchmark's JSON object as a table, and refuses an object of the wrong shape."""
import json
import sys


def main(path):
    with open(path, encoding="utf-8") as f:
        rows = json.load(f)["rows"]
    for row in rows:
        print(f"{row['name']} ({row['unit']}, {row['vcores']} vcores)")
        for name, c in row["contenders"].items():
            print(f"    {name:<28} median {c['median']:>12.6g}"
                  f"   min {c['min']:>12.6g}   max {c['max']:>12.6g}")
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
