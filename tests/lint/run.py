#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs one lint over a tree: run.py NAME ROOT [--lib libupcall.so] [--kern libup_kern.a]
[--build FOLDER]."""
import argparse
import importlib
import sys

from common import Tree, report


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lint")
    parser.add_argument("root")
    parser.add_argument("--lib")
    parser.add_argument("--kern")
    parser.add_argument("--build")
    args = parser.parse_args()
    lint = importlib.import_module(args.lint)
    return report(lint.points(Tree(args.root, lib=args.lib, kern=args.kern, build=args.build)))


if __name__ == "__main__":
    sys.exit(main())
