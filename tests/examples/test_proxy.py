#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""build/examples/proxy hands on all bytes and all ends, both ways, and bears with bad peers on either
side.  Called with proxy and echo."""
import os
import socket
import subprocess
import sys
import time

import servers
from servers import (Server, ends, read_all, read_exactly, refuses_nothing, reset, same,
                     send_and_read, wait_until)

PROXY, ECHO = sys.argv[1:3]


def before(server, *args, **more):
    """A proxy in front of a server, or of a socket that listens."""
    address = server.address if isinstance(server, Server) else server.getsockname()
    return Server(PROXY, *args, "%s:%d" % address, **more)


def listener():
    s = socket.create_server(("127.0.0.1", 0))
    s.settimeout(servers.PATIENCE)
    return s


def accept(far):
    s, _ = far.accept()
    s.settimeout(servers.PATIENCE)
    return s


def both_ways():
    with Server(ECHO) as echo, before(echo) as proxy, proxy.connect() as s:
        data = os.urandom(5 << 20)
        same(send_and_read(s, data) == data, True)
        same(proxy.stop(), "proxy: 1 connections\n")


def byte_by_byte():
    with Server(ECHO) as echo, before(echo) as proxy, proxy.connect() as s:
        for i in range(200):
            s.sendall(bytes([i]))
            same(s.recv(1), bytes([i]))


def ends_are_handed_on():
    """Each direction by itself."""
    with listener() as far, before(far) as proxy, proxy.connect() as s, accept(far) as t:
        s.sendall(b"a")
        s.shutdown(socket.SHUT_WR)
        same(read_all(t), b"a")
        t.sendall(b"b" * 100000)
        same(len(read_exactly(s, 100000)), 100000)
        t.shutdown(socket.SHUT_WR)
        same(read_all(s), b"")
    with listener() as far, before(far) as proxy, proxy.connect() as s, accept(far) as t:
        t.shutdown(socket.SHUT_WR)
        same(read_all(s), b"")
        s.sendall(b"c")
        s.shutdown(socket.SHUT_WR)
        same(read_all(t), b"c")


def resets_end_it():
    with listener() as far, before(far) as proxy:
        fds = proxy.nr_fds()
        for near_first in (True, False):
            s = proxy.connect()
            t = accept(far)
            s.sendall(b"a")
            same(t.recv(1), b"a")
            reset(s if near_first else t)
            assert ends(t if near_first else s)
            (t if near_first else s).close()
        wait_until(lambda: proxy.nr_fds() <= fds, "descriptors are left")


def nobody_behind():
    with listener() as far:
        address = far.getsockname()
    with Server(PROXY, "%s:%d" % address) as proxy:
        for _ in range(20):
            with proxy.connect() as s:
                assert ends(s)


def stalls():
    """Nothing moves either way, or one side never reads: it is ended.  One way moving is enough."""
    with listener() as far, before(far, "--timeout", 1) as proxy:
        fds = proxy.nr_fds()
        still, full, good = [(proxy.connect(receive=4096), accept(far)) for _ in range(3)]
        refuses_nothing(full[0])
        for _ in range(4):
            good[1].sendall(b"a")
            same(good[0].recv(1), b"a")
            time.sleep(0.5)
        for s in (*still, full[0]):
            assert ends(s)
        good[1].sendall(b"b")
        same(good[0].recv(1), b"b")
        for s in (*still, *full, *good):
            s.close()
        wait_until(lambda: proxy.nr_fds() <= fds, "descriptors are left")


def few_descriptors():
    with Server(ECHO) as echo, before(echo, files=200) as proxy:
        conns = [proxy.connect() for _ in range(40)]
        for s in conns:
            s.sendall(b"a")
        for s in conns:
            same(s.recv(1), b"a")
            s.close()
        same(proxy.stop(), "proxy: 40 connections\n")


def ends_well():
    """What is on its way arrives."""
    with listener() as far, before(far) as proxy, proxy.connect() as s, accept(far) as t:
        s.sendall(b"question")
        same(t.recv(100), b"question")
        proxy.tell()
        same(read_all(t), b"")
        t.sendall(b"answer")
        t.close()
        same(read_all(s), b"answer")
        same(proxy.ended(), "proxy: 1 connections\n")


def usage():
    servers.usage(PROXY, "127.0.0.1:9")
    for where in ("", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:8x"):
        done = subprocess.run([PROXY, where], capture_output=True, timeout=servers.PATIENCE)
        same((done.returncode, done.stdout, done.stderr.count(b"\n")), (64, b"", 1), where)


servers.main([both_ways, byte_by_byte, ends_are_handed_on, resets_end_it, nobody_behind, stalls,
              few_descriptors, ends_well, usage])
