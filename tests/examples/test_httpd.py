#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""build/examples/httpd: what is asked for is served, whatever is wrong is refused in the way that
docs/http.md says, and no peer, however bad, takes anything from the others."""
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import servers
from servers import Server, ends, read_all, reset, same, wait_until

HTTPD = sys.argv[1]
HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
TOP = tempfile.TemporaryDirectory()
SIZES = [0, 1, 1000, 65535, 65536, 65537, 3 << 20]


def path(name):
    return os.path.join(TOP.name, "www", name)


def write(name, data):
    """As it should be done: who reads meanwhile has the old one or the new one."""
    with open(path(name) + "~", "wb") as f:
        f.write(data)
    os.rename(path(name) + "~", path(name))


def make_files():
    os.makedirs(path("dir"))
    write("index.html", b"<p>index\n")
    write("dir/index.html", b"<p>dir\n")
    write("a b.txt", b"blank\n")
    for size in SIZES:
        write(str(size), os.urandom(size))
    os.mkfifo(path("fifo"))
    os.mkdir(path("empty"))
    with open(os.path.join(TOP.name, "outside"), "wb") as f:
        f.write(b"outside")
    os.symlink("../outside", path("out"))
    os.symlink("/etc/passwd", path("out2"))
    os.symlink("index.html", path("in"))


def content(name):
    with open(path(name), "rb") as f:
        return f.read()


def httpd(*args, **more):
    return Server(HTTPD, *args, path(""), **more)


class Reader:
    """Answers from a socket, one after the other."""

    def __init__(self, s):
        self.s, self.data = s, b""

    def more(self):
        part = self.s.recv(65536)
        self.data += part
        return bool(part)

    def answer(self, head_only=False):
        """Status, fields and body; None at the end."""
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                assert not self.data, self.data[:100]
                return None
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        assert re.fullmatch(r"HTTP/1\.1 \d{3} [A-Z][A-Za-z ]+", lines[0]), lines[0]
        fields = {name.lower(): value for name, value in (x.split(": ", 1) for x in lines[1:])}
        assert re.fullmatch(r"[A-Z]\w\w, \d\d [A-Z]\w\w \d{4} \d\d:\d\d:\d\d GMT", fields["date"])
        status = int(lines[0].split()[1])
        size = 0 if head_only or status == 304 else int(fields["content-length"])
        while len(self.data) < size:
            assert self.more(), "too short"
        body, self.data = self.data[:size], self.data[size:]
        return status, fields, body


def ask(server, text):
    """The first answer, and whether that was all."""
    with server.connect() as s:
        s.sendall(text)
        r = Reader(s)
        got = r.answer(text.startswith(b"HEAD"))
        if got and got[1].get("connection") == "close":
            same(r.answer(), None)
        return got


def status(server, text):
    got = ask(server, text)
    return got[0] if got else None


def request(target, method="GET", more=b""):
    return f"{method} {target} HTTP/1.1\r\n".encode() + HOST + more + b"\r\n"


def serves_files():
    with httpd() as server:
        for turn in range(2):
            for size in SIZES:
                code, fields, body = ask(server, request(f"/{size}"))
                same((code, int(fields["content-length"])), (200, size))
                assert body == content(str(size)), size
        for target, want in (("/", b"<p>index\n"), ("/dir/", b"<p>dir\n"), ("/a%20b.txt?q", b"blank\n"),
                             ("/in", b"<p>index\n"), ("/./dir/../", b"<p>index\n")):
            same(ask(server, request(target))[2], want)
        same(ask(server, request("/"))[1]["content-type"], "text/html; charset=utf-8")
        code, fields, _ = ask(server, request("/3145728", "HEAD"))
        same((code, fields["content-length"]), (200, "3145728"))


def what_is_not_served():
    with httpd() as server:
        for target, want in (("/nothing", 404), ("/index.html/", 404), ("/out", 404), ("/out2", 404),
                             ("/fifo", 403), ("/empty/", 404), ("/../outside", 400),
                             ("/%2e%2e/outside", 400), ("/dir/..%2f..%2foutside", 400), ("/%00", 400),
                             ("/" + "a" * 2000, 414), ("/" + "a" * 300, 404)):
            same(status(server, request(target)), want, target)
        code, fields, _ = ask(server, request("//dir?a=b"))
        same((code, fields["location"]), (301, "/dir/"))


def keeps_connections():
    with httpd() as server, server.connect() as s:
        r = Reader(s)
        for _ in range(100):
            s.sendall(GET)
            code, fields, body = r.answer()
            same((code, fields.get("connection"), body), (200, None, b"<p>index\n"))
        s.sendall(request("/", more=b"Connection: close\r\n"))
        same(r.answer()[1]["connection"], "close")
        same(r.answer(), None)
        with server.connect() as old:
            r = Reader(old)
            old.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            same(r.answer()[1]["connection"], "keep-alive")
            old.sendall(b"GET / HTTP/1.0\r\n\r\n")
            same(r.answer()[1]["connection"], "close")
            same(r.answer(), None)
        s.close()
        same(server.stop(), "httpd: 2 connections, 103 requests\n")


def pipelines():
    """Many at once, of all kinds, in pieces of all sizes: the answers come in order."""
    kinds = [(request("/1000"), content("1000"), False), (request("/dir/"), b"<p>dir\n", False),
             (request("/65537"), content("65537"), False), (request("/", "HEAD"), b"", True),
             (request("/nothing"), b"404 Not Found\n", False),
             (request("/1000", more=b"Content-Length: 5\r\n") + b"GET /", content("1000"), False),
             (request("/", "POST", b"Transfer-Encoding: chunked\r\n") + b"5\r\nGET /\r\n0\r\n\r\n",
              b"405 Method Not Allowed\n", False)]
    order = [kinds[(i * i + i // 3) % len(kinds)] for i in range(150)]
    text = b"".join(kind[0] for kind in order)
    with httpd() as server:
        for piece in (len(text), 1, 7, 1000):
            with server.connect() as s:
                sent = text if piece > 1 else text[:4000]

                def send():
                    for at in range(0, len(sent), piece):
                        s.sendall(sent[at:at + piece])
                    s.shutdown(socket.SHUT_WR)
                t = threading.Thread(target=send)
                t.start()
                r = Reader(s)
                nr = 0
                for kind in order:
                    got = r.answer(kind[2])
                    if not got:
                        break
                    same(got[2] == kind[1], True, kind[0][:40])
                    nr += 1
                t.join()
                assert nr == len(order) if piece > 1 else nr > 20, nr


def refuses():
    """The status, one answer, and the connection's end: what follows is never taken for a request."""
    long_line = b"GET /" + b"a" * 9000
    for text, want in (
            (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/2.0\r\n\r\n", 505), (b"\x16\x03\x01\x00\n", 400),
            (b"GET / HTTP/1.1\nHost: a\n\n", 400), (long_line, 414), (long_line + b"\r\n", 414),
            (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000, 431),
            (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200, 431),
            (request("/", more=b"Content-Length: 1\r\nContent-Length: 2\r\n") + GET, 400),
            (request("/", more=b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n") + GET, 400),
            (request("/", more=b"Transfer-Encoding: gzip, chunked\r\n") + GET, 501),
            (request("/", more=b"X: a\r\n b\r\n") + GET, 400), (request("/", more=b"X : a\r\n") + GET, 400),
            (request("/", more=b"Content-Length: 99999999\r\n") + GET, 413),
            (request("/", more=b"Expect: tea\r\n") + GET, 417)):
        with httpd() as server, server.connect() as s:
            s.sendall(text)
            r = Reader(s)
            code, fields, body = r.answer()
            same((code, fields["connection"], body[:4]), (want, "close", b"%d " % want), text[:60])
            same(r.answer(), None, text[:60])
    with httpd() as server:
        for method, want in (("POST", 405), ("DELETE", 405), ("BREW", 501), ("OPTIONS", 200)):
            code, fields, _ = ask(server, request("/", method))
            same((code, fields.get("connection")), (want, None))
            same(fields.get("allow"), None if want == 501 else "GET, HEAD, OPTIONS")
        # A body that has no end after all: the answer was right, and it was the last.
        with server.connect() as s:
            s.sendall(request("/", more=b"Transfer-Encoding: chunked\r\n") + b"x\r\n" + GET)
            r = Reader(s)
            same((r.answer()[0], r.answer()), (200, None))
        # Who waits to be told to go on is told no.
        got = ask(server, request("/", "PUT", b"Content-Length: 5\r\nExpect: 100-continue\r\n"))
        same((got[0], got[1]["connection"]), (405, "close"))


def conditions():
    with httpd() as server:
        _, fields, _ = ask(server, GET)
        for more, want in ((f"If-None-Match: {fields['etag']}", 304),
                           (f"If-None-Match: \"x\", {fields['etag']}", 304), ("If-None-Match: *", 304),
                           ("If-None-Match: \"x\"", 200),
                           (f"If-Modified-Since: {fields['last-modified']}", 304),
                           ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200),
                           (f"If-None-Match: \"x\"\r\nIf-Modified-Since: {fields['last-modified']}", 200)):
            same(status(server, request("/", more=more.encode() + b"\r\n")), want, more)


def changes_are_seen():
    with httpd() as server:
        write("changing", b"first")
        same(ask(server, request("/changing"))[2], b"first")
        write("changing", b"other")
        wait_until(lambda: ask(server, request("/changing"))[2] == b"other")
        os.unlink(path("changing"))
        wait_until(lambda: status(server, request("/changing")) == 404)
        write("changing", b"third")
        same(ask(server, request("/changing"))[2], b"third")


def becomes_shorter():
    """What has been promised and cannot be kept is told by the connection's end."""
    write("shrinking", b"x" * (64 << 20))
    with httpd() as server, server.connect(receive=4096) as s:
        s.sendall(request("/shrinking"))
        head = s.recv(4096)
        same(b"Content-Length: %d\r\n" % (64 << 20) in head, True)
        os.truncate(path("shrinking"), 100)
        assert len(head + read_all(s)) < 64 << 20
    os.unlink(path("shrinking"))


def slow_peers():
    """Nothing, half a request, a byte now and then, and an answer that nobody reads: all are left in
    time, and meanwhile others are served."""
    with httpd("--timeout", 1) as server:
        fds = server.nr_fds()
        nothing, half, drip, deaf, body = [server.connect(receive=4096) for _ in range(5)]
        half.sendall(GET[:-1])
        deaf.sendall(request("/3145728"))
        body.sendall(request("/", more=b"Content-Length: 5\r\n") + b"abc")
        dripped = threading.Thread(target=drips, args=(drip,))
        dripped.start()
        begin = time.monotonic()
        for _ in range(50):
            same(status(server, GET), 200)
        assert time.monotonic() - begin < 1
        same(read_all(nothing), b"")
        same(Reader(half).answer()[0], 408)
        wait_until(lambda: server.nr_fds() <= fds + 3)
        assert ends(deaf)
        dripped.join()
        same(Reader(body).answer()[0], 200)
        assert ends(body)
        assert time.monotonic() - begin < 10
        for s in (nothing, half, drip, deaf, body):
            s.close()
        wait_until(lambda: server.nr_fds() <= fds, "descriptors are left")


def slow_but_moving():
    """A large answer may take longer than the timeout in all."""
    with open(path("larger"), "wb") as f:
        f.truncate(48 << 20)
    with httpd("--timeout", 1) as server, server.connect(receive=65536) as s:
        s.sendall(request("/larger"))
        got, begin = 0, time.monotonic()
        while part := s.recv(65536):
            got += len(part)
            if time.monotonic() - begin < 2.5:
                time.sleep(0.005)
            if got > 48 << 20:
                break
        assert got > 48 << 20, got


def answers_are_not_held_back():
    """An answer waits for the next one only as long as that one is here."""
    with httpd() as server, server.connect() as s:
        r = Reader(s)
        best = 1
        for _ in range(5):
            begin = time.monotonic()
            s.sendall(GET + GET[:20])
            same(r.answer()[0], 200)
            best = min(best, time.monotonic() - begin)
            s.sendall(GET[20:])
            same(r.answer()[0], 200)
        assert best < 0.1, best  # Linux itself lets go of them after 0.2 s


def drips(s):
    """A byte every tenth of a second, until somebody has had enough."""
    try:
        for byte in GET * 100:
            s.sendall(bytes([byte]))
            time.sleep(0.1)
    except ConnectionError:
        return
    assert False, "it took all of it"


def resets():
    """At every moment of a request and of an answer."""
    with httpd() as server:
        fds = server.nr_fds()
        for text in (b"", GET[:10], GET, GET * 50, request("/3145728"), request("/3145728") * 3,
                     request("/", more=b"Content-Length: 5\r\n")):
            for read in (0, 1, 5000):
                s = server.connect(receive=4096)
                s.sendall(text)
                if read and text.endswith(b"\r\n\r\n"):
                    s.recv(read)
                reset(s)
        same(status(server, GET), 200)
        wait_until(lambda: server.nr_fds() <= fds, "descriptors are left")


def few_descriptors():
    """Every one of those who wait is served in the end, from memory and from files."""
    for target in ("/", "/65537"):
        with httpd(files=120) as server:
            conns = [server.connect() for _ in range(100)]
            for s in conns:
                s.sendall(request(target))
            for s in conns:
                same(Reader(s).answer()[0], 200)
                s.close()


def no_descriptors():
    """Fewer than it counted on: nothing spins, and nobody is turned away."""
    with httpd() as server:
        same(status(server, GET), 200)
        limit = len(list(server.links())) + 3
        resource.prlimit(server.p.pid, resource.RLIMIT_NOFILE, (limit, limit))
        conns = [server.connect() for _ in range(50)]
        for s in conns:
            s.sendall(GET)
        begin = server.cpu()
        time.sleep(0.7)
        assert server.cpu() - begin < 0.2, f"{server.cpu() - begin} s of CPU time"
        for s in conns:
            same(Reader(s).answer()[0], 200)
            s.close()


def many_idle():
    """They cost no kernel thread each."""
    with httpd() as server:
        conns = [server.connect() for _ in range(500)]
        for turn in range(2):
            for s in conns:
                s.sendall(GET)
            for s in conns:
                same(Reader(s).answer()[0], 200)
        wait_until(lambda: server.nr_threads() < 50, f"{server.nr_threads()} threads")
        for s in conns:
            s.close()


def ends_well():
    """Idle ones are let go; a request half sent and an answer half read are finished; so is what has
    come into the queue; then it says how many there were."""
    with httpd() as server:
        idle, half, large = server.connect(), server.connect(), server.connect(receive=4096)
        idle.sendall(GET)
        same(Reader(idle).answer()[0], 200)
        half.sendall(GET[:20])
        large.sendall(request("/3145728"))
        got = large.recv(4096)
        wait_until(lambda: server.nr_fds() >= 6)
        time.sleep(0.1)
        queued = server.connect()
        queued.sendall(GET)
        server.tell()
        same(read_all(idle), b"")
        same(Reader(queued).answer()[0], 200)
        half.sendall(GET[20:])
        code, fields, _ = Reader(half).answer()
        same((code, fields["connection"]), (200, "close"))
        r = Reader(large)
        r.data = got
        same(r.answer()[2] == content("3145728"), True)
        for s in (idle, half, queued, large):
            s.close()
        same(server.ended(), "httpd: 4 connections, 4 requests\n")
        try:
            server.connect()
            assert False, "it still listens"
        except ConnectionError:
            pass


def queue_is_served():
    """Who stands in it when the signal comes."""
    with httpd() as server:
        server.tell(signal.SIGSTOP)
        conns = [server.connect() for _ in range(20)]
        for s in conns:
            s.sendall(GET)
        server.tell()
        server.tell(signal.SIGCONT)
        for s in conns:
            same(Reader(s).answer()[0], 200)
            s.close()
        same(server.ended(), "httpd: 20 connections, 20 requests\n")


def no_request_is_lost():
    """Clients that ask without a pause while it ends: who has sent a request on a new connection, or
    has been told to go on, has an answer."""
    for _ in range(5):
        with httpd() as server:
            lost = []
            threads = [threading.Thread(target=asks, args=(server, lost)) for _ in range(8)]
            for t in threads:
                t.start()
            time.sleep(0.1)
            server.stop()
            for t in threads:
                t.join()
            same(lost, [])


def asks(server, lost):
    while True:
        try:
            s = server.connect()
        except ConnectionError:
            return
        try:
            s.sendall(GET)
            if not Reader(s).answer():
                lost.append("no answer")
        except ConnectionError as e:
            # In the moment between the last look into the queue and its end nobody can help it.
            if server.p.poll() is None and e.errno != 104:
                lost.append(str(e))
            return
        finally:
            s.close()


def usage():
    servers.usage(HTTPD, path(""))
    for where in (path("nothing"), path("index.html")):
        done = subprocess.run([HTTPD, where], capture_output=True, timeout=servers.PATIENCE)
        same((done.returncode, done.stdout, done.stderr.count(b"\n")), (66, b"", 1))
    done = subprocess.run([HTTPD], capture_output=True, timeout=servers.PATIENCE)
    same((done.returncode, done.stdout), (64, b""))


make_files()
try:
    servers.main([serves_files, what_is_not_served, keeps_connections, pipelines, refuses, conditions,
                  changes_are_seen, becomes_shorter, slow_peers, slow_but_moving,
                  answers_are_not_held_back, resets, few_descriptors, no_descriptors, many_idle,
                  ends_well, queue_is_served, no_request_is_lost, usage])
finally:
    TOP.cleanup()
