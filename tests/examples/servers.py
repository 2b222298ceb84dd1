# SPDX-License-Identifier: MIT
"""What the tests of echo, proxy and httpd share: a server that is started and stopped, clients that
behave badly, and points that are functions."""
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

PATIENCE = 20
signal.signal(signal.SIGINT, signal.SIG_DFL)  # who is started in the background has it ignored


class Skip(Exception):
    pass


def same(got, want, *note):
    assert got == want, f"{got!r:.300}, not {want!r:.300} {' '.join(map(str, note))}"


def wait_until(what, why="it does not come about"):
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.005)


class Server:
    """Started; at the end it is stopped, and must have ended well."""

    def __init__(self, program, *args, files=None, **more):
        def limit():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        self.p = subprocess.Popen([program, *map(str, args)], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, preexec_fn=limit, **more)
        line = self.p.stdout.readline().decode()
        assert ": listening on 127.0.0.1:" in line, line + self.p.stderr.read().decode()
        self.address = ("127.0.0.1", int(line.rsplit(":", 1)[1]))
        self.last = None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if self.last is None and not kind:
                self.stop()
        finally:
            self.p.kill()
            self.p.wait()

    def tell(self, signo=signal.SIGTERM):
        self.p.send_signal(signo)

    def stop(self, signo=signal.SIGTERM):
        """Its last line; it must end with 0."""
        self.tell(signo)
        return self.ended()

    def ended(self):
        out, err = self.p.communicate(timeout=PATIENCE)
        same((self.p.returncode, err), (0, b""))
        self.last = out.decode()
        return self.last

    def connect(self, receive=None):
        s = socket.socket()
        if receive:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        s.settimeout(PATIENCE)
        s.connect(self.address)
        return s

    def nr_fds(self):
        """Sockets and pipes: the runtime has descriptors of its own."""
        return sum(name.startswith(("socket:", "pipe:")) for name in self.links())

    def links(self):
        for fd in os.listdir(f"/proc/{self.p.pid}/fd"):
            try:
                yield os.readlink(f"/proc/{self.p.pid}/fd/{fd}")
            except OSError:
                pass

    def nr_threads(self):
        return len(os.listdir(f"/proc/{self.p.pid}/task"))

    def cpu(self):
        with open(f"/proc/{self.p.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_all(s):
    data = b""
    while part := s.recv(65536):
        data += part
    return data


def send_and_read(s, data):
    """All that comes back while data goes out, more of it than anybody holds."""
    def send():
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    t = threading.Thread(target=send)
    t.start()
    got = read_all(s)
    t.join()
    return got


def read_exactly(s, nr):
    data = b""
    while len(data) < nr and (part := s.recv(nr - len(data))):
        data += part
    return data


def ends(s):
    """Whether the other side has ended it, by a reset or not, in time; what came before is lost."""
    try:
        while s.recv(65536):
            pass
    except ConnectionError:
        pass
    except socket.timeout:
        return False
    return True


def reset(s):
    """Closes it so that the other side is reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def refuses_nothing(s):
    """Writes until it would block; how many bytes went."""
    s.setblocking(False)
    sent = 0
    try:
        while select.select([], [s], [], 0.7)[1]:
            sent += s.send(b"x" * 65536)
    except ConnectionError:
        pass
    s.settimeout(PATIENCE)
    return sent


def usage(program, *good):
    """What every one of them refuses, with which status, and in a line or two."""
    for args in (["--port"], ["--port", "x"], ["--port", "65536"], ["--port", "-1"], ["--port", ""],
                 ["--timeout", "0"], ["--timeout", "1s"], ["--max-connections", "0"],
                 ["--address", "nowhere"], ["--address", "::1"], ["--no-such-option"],
                 [*good, "too-much"]):
        done = subprocess.run([program, *args], capture_output=True, timeout=PATIENCE)
        same((done.returncode, done.stdout), (64, b""), args)
        assert 1 <= done.stderr.count(b"\n") <= 2, done.stderr
    done = subprocess.run([program, "--help"], capture_output=True, timeout=PATIENCE)
    same((done.returncode, done.stderr), (0, b""))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run([program, "--port", str(taken.getsockname()[1]), *good],
                              capture_output=True, timeout=PATIENCE)
        same((done.returncode, done.stdout, done.stderr.count(b"\n")), (69, b"", 1))
    with open("/dev/full", "wb") as full:
        for args in (["--help"], good):
            done = subprocess.run([program, *args], stdout=full, stderr=subprocess.PIPE,
                                  timeout=PATIENCE)
            same(done.returncode, 74, args)


def main(points):
    failed = 0
    print(f"1..{len(points)}")
    for nr, point in enumerate(points, 1):
        words = point.__name__.replace("_", " ")
        begin = time.monotonic()
        try:
            point()
            print(f"ok {nr} - {words}")
        except Skip as why:
            print(f"ok {nr} - {words} # SKIP {why}")
        except Exception:
            failed += 1
            print(f"not ok {nr} - {words}")
            print("# " + traceback.format_exc().replace("\n", "\n# "))
        print(f"# {time.monotonic() - begin:.2f} s", flush=True)
    sys.exit(failed != 0)
