#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""build/examples/echo gives back what it got to whoever behaves, and bears with all others."""
import os
import signal
import socket
import sys
import time

import servers
from servers import Server, ends, read_all, refuses_nothing, reset, same, send_and_read, wait_until

ECHO = sys.argv[1]


def gives_back():
    with Server(ECHO) as server, server.connect() as s:
        data = os.urandom(3 << 20)
        same(send_and_read(s, data) == data, True)
        same(server.stop(), "echo: 1 connections\n")


def byte_by_byte():
    with Server(ECHO) as server, server.connect() as s:
        for i in range(300):
            s.sendall(bytes([i % 256]))
            same(s.recv(1), bytes([i % 256]))


def many_at_once():
    """Each has its uthread, and they have no kernel thread each."""
    with Server(ECHO) as server:
        conns = [server.connect() for _ in range(500)]
        for turn in (b"a", b"b"):
            for s in conns:
                s.sendall(turn)
            for s in conns:
                same(s.recv(2), turn)
        wait_until(lambda: server.nr_threads() < 50, f"{server.nr_threads()} threads")
        for s in conns:
            s.close()


def bad_peers():
    """They are reset, stall, or never read: others are served, and nothing is left of them."""
    with Server(ECHO, "--timeout", 1) as server:
        before = server.nr_fds()
        bad = []
        for _ in range(50):
            s = server.connect()
            s.sendall(b"x" * 1000)
            reset(s)
        for _ in range(20):
            bad.append(server.connect())
            bad[-1].sendall(b"x")
        for _ in range(5):
            bad.append(server.connect(receive=4096))
            refuses_nothing(bad[-1])
        with server.connect() as s:
            s.sendall(b"good")
            same(s.recv(4), b"good")
        for s in bad:
            assert ends(s)
        wait_until(lambda: server.nr_fds() <= before, "descriptors are left")


def slow_but_moving():
    """Longer than the timeout in all, but never still for as long."""
    with Server(ECHO, "--timeout", 1) as server, server.connect() as s:
        for _ in range(4):
            s.sendall(b"a")
            same(s.recv(1), b"a")
            time.sleep(0.5)


def waits_for_a_place():
    with Server(ECHO, "--max-connections", 2) as server:
        first = [server.connect() for _ in range(2)]
        for s in first:
            s.sendall(b"a")
            same(s.recv(1), b"a")
        with server.connect() as third:
            third.sendall(b"b")
            third.settimeout(0.2)
            try:
                third.recv(1)
                assert False, "three at a time"
            except socket.timeout:
                pass
            third.settimeout(servers.PATIENCE)
            first[0].close()
            begin = time.monotonic()
            same(third.recv(1), b"b")
            assert time.monotonic() - begin < 0.5, "it is told of a place, and need not look for it"


def few_descriptors():
    """All are served in the end, without spinning meanwhile."""
    with Server(ECHO, "--max-connections", 100000, files=130) as server:
        conns = [server.connect() for _ in range(100)]
        for s in conns:
            s.sendall(b"a")
        time.sleep(0.3)
        begin = server.cpu()
        time.sleep(1)
        assert server.cpu() - begin < 0.2, f"{server.cpu() - begin} s of CPU time"
        for s in conns:
            same(s.recv(1), b"a")
            s.close()
        same(server.stop(), "echo: 100 connections\n")


def ends_well():
    """Who has sent something gets it back; who waits is let go."""
    for signo in (signal.SIGTERM, signal.SIGINT):
        with Server(ECHO) as server:
            conns = [server.connect() for _ in range(10)]
            for s in conns[:5]:
                s.sendall(b"abc")
            out = server.stop(signo)
            same(out, "echo: 10 connections\n")
            for s in conns[:5]:
                same(read_all(s), b"abc")
            for s in conns[5:]:
                same(read_all(s), b"")


def second_signal():
    with Server(ECHO) as server, server.connect(receive=4096) as s:
        refuses_nothing(s)
        server.tell()
        wait_until(lambda: b"0A" not in listening(server), "it still listens")
        server.tell()
        same(server.p.wait(servers.PATIENCE), -signal.SIGTERM)
        server.last = ""


def listening(server):
    with open("/proc/net/tcp", "rb") as f:
        port = b":%04X" % server.address[1]
        return [line.split()[3] for line in f.readlines()[1:] if line.split()[1].endswith(port)]


def usage():
    servers.usage(ECHO)


servers.main([gives_back, byte_by_byte, many_at_once, bad_peers, slow_but_moving, waits_for_a_place,
              few_descriptors, ends_well, second_signal, usage])
