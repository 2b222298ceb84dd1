# SPDX-License-Identifier: MIT
"""Upcall for gdb: uthreads, their backtraces and vcores, in a live process and in a core dump.

    upcall uthreads            each uthread: state, vcore, thread, what it waits for
    upcall bt ID|all [ARGS]    its backtrace (ARGS are those of gdb's backtrace)
    upcall apply ID|all CMD    CMD with the uthread's innermost frame selected
    upcall vcores              each vcore, and what it runs
    upcall gcore FILE          generate-core-file that does not stop at the guards of stacks

gdb loads this by itself with an installed libupcall, `source` does elsewhere.  It reads libupcall's
own variables, so the library must have its debugging information.  The notification signal is
passed to the program without a word.
"""
import signal
import struct

import gdb
import gdb.unwinder

NONE = 0xffffffff
RUN_MASK, RUN_IDLE, RUN_VCORE, RUN_UTHREAD, RUN_STOLEN = 7, 0, 1, 2, 4
CTX_FRAME = 1
STATES = {0: "new", 1: "running", 2: "ready", 3: "waiting", 4: "in-kernel", 5: "done", 6: "aside"}
# One that is stopped outside of any call, by a debugger for one, is taken for one that faults.
CLASSES = {0: "an announced call", 1: "a page fault, or stopped", 2: "an uninterruptible call", 3: "a call"}
# What a suspended context keeps.  Saved by a call (src/arch/x86_64/switch.S): these from the stack
# pointer on, behind a word of control registers.
COOP = ("r15", "r14", "r13", "r12", "rbx", "rbp", "rip")
# Interrupted: gregs of Linux' ucontext, which lie so many bytes behind its beginning.
FRAME = ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx",
         "rax", "rcx", "rsp", "rip")
FRAME_AT = 40
SIGRETURN = b"\x48\xc7\xc0\x0f\0\0\0\x0f\x05"  # mov $15, %rax; syscall: what a handler returns to
GS_HOME_PC = 88  # src/arch/x86_64/gs_asm.h


class Error(gdb.GdbError):
    pass


def word(at):
    """An unsigned 64-bit word of the program's memory."""
    data = gdb.selected_inferior().read_memory(at, 8)
    return int.from_bytes(bytes(data), "little")


def code(at, size):
    try:
        return bytes(gdb.selected_inferior().read_memory(at, size))
    except gdb.MemoryError:
        return b""


def variable(name):
    """One of libupcall's: its own names may be hidden, and there may be a copy a library."""
    for look in (gdb.lookup_global_symbol, gdb.lookup_static_symbol):
        symbol = look(name, gdb.SYMBOL_VAR_DOMAIN)
        if symbol is not None:
            return symbol.value()
    raise Error("no debugging information of libupcall here (%s is not known)" % name)


def address_of(name):
    """Of a label in assembly; None where there is none."""
    try:
        return int(gdb.parse_and_eval("(unsigned long)&" + name))
    except gdb.error:
        return None


def runtime():
    rt = variable("up_rt")
    if not rt["started"]:
        raise Error("the runtime has not been started")
    return rt


def pointer_type(name):
    return gdb.lookup_type(name).pointer()


class Activation:
    def __init__(self, value):
        self.value = value
        self.num = int(value["num"])
        self.tid = int(value["gs"]["tid"])
        self.state = int(value["gs"]["run"]) & RUN_MASK
        self.vcore = int(value["vcore"])
        self.uthread = int(value["gs"]["uthread"])

    def has_uthread(self):
        """The uthread's registers are the thread's, not in memory."""
        return self.uthread and self.state in (RUN_UTHREAD, RUN_STOLEN)

    def thread(self):
        for thread in gdb.selected_inferior().threads():
            if thread.ptid[1] == self.tid:
                return thread
        return None


def activations():
    host = variable("up_host")
    for i in range(int(host["nr_acts"])):
        at = host["acts"][i]
        if int(at):
            try:
                yield Activation(at.dereference())
            except gdb.MemoryError:
                pass  # it has ended


class Uthread:
    def __init__(self, value, acts):
        self.value = value
        self.at = int(value.address)
        self.id = int(value["id"])
        self.name = value["name"].string(errors="replace")
        self.act = next((a for a in acts if a.uthread == self.at and a.has_uthread()), None)

    def state(self):
        if self.act:
            return "in-kernel" if self.act.state == RUN_STOLEN else "running"
        state = STATES.get(int(self.value["state"]), "?")
        if state in ("running", "ready"):  # its vcore is about to go on with it
            state = "preempted" if int(self.value["kind"]) == CTX_FRAME else "ready"
        return state

    def registers(self):
        """Of one that is suspended; and how many frames lie before its own."""
        if int(self.value["kind"]) == CTX_FRAME:
            at = int(self.value["frame"])
            # As it was when its signal handler would have returned: gdb knows that an interrupted
            # frame stands before an instruction, not behind a call.
            if code(word(at - 8), len(SIGRETURN)) == SIGRETURN:
                return {"rsp": at, "rip": word(at - 8)}, 2
            return {reg: word(at + FRAME_AT + 8 * i) for i, reg in enumerate(FRAME)}, 1
        at = int(self.value["sp"])
        if not at:
            raise Error("uthread %d has no context yet" % self.id)
        regs = {reg: word(at + 8 + 8 * i) for i, reg in enumerate(COOP)}
        regs["rsp"] = at + 8 + 8 * len(COOP)
        return regs, 1

    def waits_for(self, others):
        state = self.state()
        if self.act:
            if self.act.state == RUN_STOLEN:
                return "in " + CLASSES.get(int(self.act.value["stolen_class"]), "the kernel")
            call = int(self.act.value["gs"]["call"])
            return "in " + CLASSES[call - 1] if call else ""
        if state == "waiting":
            return self.waits_for_wake()
        if state != "aside":
            return ""
        for other in others:
            if int(other.value["joiner"]) == self.at:
                return "the end of uthread %d" % other.id
        return self.waits_for_object()

    def waits_for_wake(self):
        """upcall_block(): whom it told of itself."""
        try:
            # The one of that file: another has a struct of the same name.
            where = gdb.lookup_global_symbol("upcall_block").symtab.static_block()
            kind = gdb.lookup_type("struct block", where).pointer()
            block = self.value["cb_arg"].cast(kind).dereference()
            return "upcall_wake(), told by %s with %#x" % (
                str(block["fn"]).split("<")[-1].rstrip(">"), int(block["arg"]))
        except (gdb.error, AttributeError):
            return "upcall_wake()"

    def waits_for_object(self):
        """Of src/sync, where that is built."""
        try:
            wait = self.value["wait"]
            kinds = {f.enumval: f.name for f in gdb.lookup_type("enum up_wait_kind").fields()}
            kind = kinds[int(wait["kind"])].replace("UP_WAIT_", "").lower()
            return "%s at %#x" % (kind, int(wait["obj"])) if int(wait["obj"]) else kind
        except (gdb.error, KeyError):
            return "the runtime"


def uthreads():
    rt = runtime()
    acts = list(activations())
    kind = pointer_type("struct up_uthread")
    offset = next(f.bitpos // 8 for f in kind.target().fields() if f.name == "all")
    head = int(rt["all"].address)
    found, seen = [], set()
    at = int(rt["all"]["next"])
    while at and at != head and at not in seen:
        seen.add(at)
        value = gdb.Value(at - offset).cast(kind).dereference()
        try:
            if bool(value["live"]):
                found.append(Uthread(value, acts))
            at = int(value["all"]["next"])
        except gdb.MemoryError:
            print("the list of uthreads ends in memory that is not here (at %#x)" % at)
            break
    return sorted(found, key=lambda u: u.id)


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class Unwinder(gdb.unwinder.Unwinder):
    """Lets a suspended uthread's innermost frame follow the selected thread's own: registers come from
    memory, so that it works where none can be written."""

    def __init__(self):
        super().__init__("upcall-uthread")
        self.regs = None
        self.top = None

    def __call__(self, pending):
        sp, pc = pending.read_register("rsp"), pending.read_register("rip")
        here = (int(sp), int(pc))
        if self.regs is None:
            return self.led_home(pending, sp, pc)
        if self.top is None:
            self.top = here
        if here != self.top:
            return None
        # As if it lay below all stacks: a frame's caller is expected above it.
        info = pending.create_unwind_info(FrameId(gdb.Value(1).cast(sp.type), pc))
        word_type = gdb.lookup_type("unsigned long")
        for reg, value in self.regs.items():
            like = pending.read_register(reg).type
            value = gdb.Value(value).cast(word_type)
            info.add_saved_register(reg, value.cast(like) if like.sizeof == 8 else value)
        return info

    @staticmethod
    def led_home(pending, sp, pc):
        """On the way home from a fault, before the way back has been put on the stack (switch.S)."""
        moved = {address_of("up_arch_came_back_fault"): 0,
                 address_of("up_arch_came_back_fault_moved"): 128}.get(int(pc))
        if moved is None:
            return None
        info = pending.create_unwind_info(FrameId(sp, pc))
        try:
            # One more: gdb takes this for a call, and looks one before where it comes back to.
            back = word(int(pending.read_register("gs_base")) + GS_HOME_PC) + 1
        except (gdb.error, ValueError):
            return None
        info.add_saved_register("rip", gdb.Value(back).cast(pc.type))
        info.add_saved_register("rsp", gdb.Value(int(sp) + moved).cast(sp.type))
        for reg in FRAME[:-2]:
            info.add_saved_register(reg, pending.read_register(reg))
        return info

    def set(self, regs):
        self.regs = regs
        self.top = None
        gdb.invalidate_cached_frames()


unwinder = Unwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


def in_uthread(u, command):
    """The output of a gdb command with u's innermost frame selected."""
    before = gdb.selected_thread()
    try:
        if u.act:
            thread = u.act.thread()
            if thread is None:
                raise Error("uthread %d: its kernel thread %d is not here" % (u.id, u.act.tid))
            thread.switch()
        else:
            regs, before_it = u.registers()
            unwinder.set(regs)
            frame = gdb.newest_frame()
            for _ in range(before_it):
                frame = frame.older() if frame else None
            if frame is None:
                raise Error("uthread %d: gdb cannot unwind to it" % u.id)
            frame.select()
        return gdb.execute(command, to_string=True)
    finally:
        unwinder.set(None)
        if before is not None:
            before.switch()
            gdb.newest_frame().select()


def renumbered(text, before_it):
    """Without the frames that lie before the uthread's own."""
    lines, number = [], -1
    for line in text.splitlines():
        if line.startswith("#"):
            number, rest = line[1:].split(None, 1)
            number = int(number) - before_it
            line = "#%-2d %s" % (number, rest)
        if number >= 0:
            lines.append(line)
    return "\n".join(lines) + "\n" if lines else text


def title(u):
    return "uthread %d \"%s\" (%s)" % (u.id, u.name, u.state())


def chosen(argument):
    all_of_them = uthreads()
    if argument == "all":
        return all_of_them
    try:
        number = int(argument, 0)
    except ValueError:
        raise Error("which uthread? a number, or `all`") from None
    found = [u for u in all_of_them if number in (u.id, u.at)]
    if not found:
        raise Error("there is no uthread %d" % number)
    return found


def each(argument, usage, what):
    words = argument.split(None, 1)
    if not words:
        raise Error("usage: " + usage)
    many = words[0] == "all"
    for u in chosen(words[0]):
        print(title(u))
        try:
            print(what(u, words[1] if len(words) > 1 else ""), end="\n" if many else "")
        except (gdb.error, gdb.MemoryError, Error) as error:
            if not many:
                raise
            print("  %s" % error)


class Prefix(gdb.Command):
    """Uthreads and vcores of a program that uses libupcall."""

    def __init__(self):
        super().__init__("upcall", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


class Uthreads(gdb.Command):
    """upcall uthreads: each uthread, its state, where it is, and what it waits for."""

    def __init__(self):
        super().__init__("upcall uthreads", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        found = uthreads()
        print("%6s  %-16s %-10s %-6s %-8s %s" % ("id", "name", "state", "vcore", "thread",
                                                 "waits for"))
        for u in found:
            vcore = str(u.act.vcore) if u.act and u.act.state == RUN_UTHREAD else "-"
            tid = str(u.act.tid) if u.act else "-"
            print(("%6d  %-16s %-10s %-6s %-8s %s" % (u.id, u.name or "-", u.state(), vcore, tid,
                                                      u.waits_for(found))).rstrip())


class Backtrace(gdb.Command):
    """upcall bt ID|all [ARGS]: backtrace of a uthread, wherever it is."""

    def __init__(self):
        super().__init__("upcall bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        def one(u, args):
            text = in_uthread(u, "backtrace " + args)
            return text if u.act else renumbered(text, u.registers()[1])
        each(argument, "upcall bt ID|all [ARGS]", one)


class Apply(gdb.Command):
    """upcall apply ID|all COMMAND: a gdb command in the innermost frame of a uthread."""

    def __init__(self):
        super().__init__("upcall apply", gdb.COMMAND_STACK, gdb.COMPLETE_COMMAND)

    def invoke(self, argument, from_tty):
        if len(argument.split(None, 1)) < 2:
            raise Error("usage: upcall apply ID|all COMMAND")
        each(argument, "upcall apply ID|all COMMAND", in_uthread)


class Vcores(gdb.Command):
    """upcall vcores: each vcore, its core, activation and uthread."""

    def __init__(self):
        super().__init__("upcall vcores", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        rt = runtime()
        acts = {a.num: a for a in activations()}
        kind = pointer_type("struct up_uthread")
        port = rt["port"].dereference()
        print("%5s  %-8s %-5s %-11s %-8s %s" % ("vcore", "state", "core", "activation", "thread",
                                                "runs"))
        for v in range(int(rt["max_vcores"])):
            m = port["vmap"][v]
            act = acts.get(int(m["act"])) if int(m["valid"]) else None
            runs = "-"
            if act and act.uthread and act.state == RUN_UTHREAD:
                u = gdb.Value(act.uthread).cast(kind).dereference()
                runs = "uthread %d \"%s\"" % (int(u["id"]), u["name"].string(errors="replace"))
            elif act:
                runs = "vcore context" if act.state == RUN_VCORE else "-"
            core = int(m["pcore"])
            print("%5d  %-8s %-5s %-11s %-8s %s" % (
                v, "online" if int(m["valid"]) else "offline",
                core if int(m["valid"]) and core != NONE else "-", act.num if act else "-",
                act.tid if act else "-", runs))


class Gcore(gdb.Command):
    """upcall gcore FILE: a core dump of the live process with all stacks in it.

Stacks lie in one mapping with guards that cannot be read in between, and generate-core-file leaves
out what follows the first of them.  (Linux' own core dumps are whole.)"""

    def __init__(self):
        super().__init__("upcall gcore", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        if not argument:
            raise Error("usage: upcall gcore FILE")
        gdb.execute("generate-core-file " + argument, to_string=True)
        with open(argument, "r+b") as core:
            for at, offset, size in segments(core):
                fill(core, at, offset, size)
        print("Saved corefile " + argument)


PAGE, CHUNK = 4096, 1 << 20


def segments(core):
    """(address, offset, size) of what a 64-bit ELF core holds of memory."""
    head = core.read(64)
    at, = struct.unpack_from("<Q", head, 32)
    size, number = struct.unpack_from("<HH", head, 54)
    if number == 0xffff:  # too many for 16 bits: section 0 says how many
        core.seek(struct.unpack_from("<Q", head, 40)[0] + 44)
        number, = struct.unpack("<I", core.read(4))
    core.seek(at)
    table = core.read(size * number)
    for i in range(number):
        kind, _, offset, vaddr, _, filesz = struct.unpack_from("<IIQQQQ", table, size * i)
        if kind == 1 and filesz:
            yield vaddr, offset, filesz


def fill(core, at, offset, size):
    inferior = gdb.selected_inferior()
    broken = False
    for start in range(0, size, CHUNK):
        length = min(CHUNK, size - start)
        try:
            data = inferior.read_memory(at + start, length)
            if broken:
                core.seek(offset + start)
                core.write(bytes(data))
            continue
        except gdb.MemoryError:
            broken = True
        for page in range(start, start + length, PAGE):
            try:
                data = bytes(inferior.read_memory(at + page, min(PAGE, size - page)))
            except gdb.MemoryError:
                continue
            core.seek(offset + page)
            core.write(data)


# ---- the notification signal ----

def pass_quietly(signo):
    # gdb calls those that have no name of their own SIG34 and so on.
    name = "SIG%d" % signo if signo > 31 else signal.Signals(signo).name
    gdb.execute("handle %s nostop noprint pass" % name, to_string=True)


class AtStart(gdb.Breakpoint):
    """The program may have chosen another signal: seen where the runtime installs it."""

    def __init__(self):
        super().__init__("up_notify_init", gdb.BP_BREAKPOINT, internal=True)
        self.silent = True

    def stop(self):
        pass_quietly(int(gdb.selected_frame().read_register("rdi")))
        return False


def watch_start(event=None):
    if gdb.lookup_global_symbol("up_notify_init") is None:
        return
    gdb.events.new_objfile.disconnect(watch_start)
    AtStart()


def at_stop(event):
    """A process that was attached to has chosen long ago."""
    gdb.events.stop.disconnect(at_stop)
    try:
        signo = int(variable("up_host")["signo"])
        if signo:
            pass_quietly(signo)
    except (gdb.error, Error):
        pass


pass_quietly(signal.SIGURG)
gdb.events.new_objfile.connect(watch_start)
watch_start()
gdb.events.stop.connect(at_stop)
Prefix()
Uthreads()
Backtrace()
Apply()
Vcores()
Gcore()
