"""The shim: one small process that stands over one container, or over one command in a container.

It is started as a script of its own and outlives the runtime. Since there is one for each container, it imports only
what is built in or written in C, and so starts in 7 ms: the Python halves of `os`, `signal` and `ctypes` alone would
take as long again. What it is told comes as a `marshal` value, which only the same interpreter reads.

File descriptors: 3 what it is told, 4 the container's record (locked; the lock is the proof that a shim lives), 5 where
it reports, 6 the control pipe of a command or the first of the container's sockets.
"""

from __future__ import annotations

import _ctypes
import _signal  # type: ignore[import-not-found] # typeshed knows it only as `signal`
import _thread
import errno
import marshal
import posix as os
import resource
import select
import sys
import time
from posix import _exit as exit_now

TYPE_CHECKING = False  # importing `typing` for it would cost 3 ms
if TYPE_CHECKING:
    from typing import NoReturn

    from ._spec import Spec

SPEC_FD, RECORD_FD, REPORT_FD, FIRST_FD = 3, 4, 5, 6
RUN_STEP = "run the program"
HIGH_FD = 200
SLOT_BYTES = 512
SHIM_SLOT, MAIN_SLOT, EXIT_SLOT, END_SLOT = 1, 2, 3, 4
CHUNK_BYTES = 65536
INDEX_INTERVAL_NS = 10_000_000
DISK_RETRY_SECONDS = 0.5
STALL_SECONDS = 1.0
FLUSH_SECONDS = 2.0
SIGKILL, SIGTERM = 9, 15

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
SYS_CLONE3 = 435  # the same number on every architecture
CLONE_INTO_CGROUP = 0x200000000


class Long(_ctypes._SimpleCData):  # type: ignore[type-arg] # it is generic in typeshed only  # noqa: SLF001 # no other name
    """A C long, as what libc's functions take and return here."""

    _type_ = "l"


class LibcFunction(_ctypes.CFuncPtr):
    """A function of libc."""

    # FUNCFLAG_CDECL, _PYTHONAPI (the GIL is kept, so that the child of clone3 goes on holding it) and _USE_ERRNO
    _flags_ = 1 | 4 | 8
    _restype_ = Long


_libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # None is this program itself; typeshed does not know
_prctl = LibcFunction(_ctypes.dlsym(_libc, "prctl"))
_syscall = LibcFunction(_ctypes.dlsym(_libc, "syscall"))


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process."""
    if _prctl(Long(option), Long(value), Long(0), Long(0), Long(0)) != 0:
        code = _ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def read_file(path: str) -> bytes:
    """Return what a file of the kernel's has."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 65536)
    finally:
        os.close(fd)


def stat_fields(pid: int | str) -> list[bytes]:
    """Return the fields of a process from the third, the state, on."""
    return read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; with the pid it names a process."""
    return int(stat_fields(pid)[19])


def write_slot(slot: int, text: str) -> None:
    """Write one of the record's slots, in place: its blocks were allocated at creation, so a full disk can't refuse."""
    line = text.replace("\n", " ").encode(errors="replace")[: SLOT_BYTES - 1] + b"\n"
    os.pwrite(RECORD_FD, line.ljust(SLOT_BYTES, b"\0"), slot * SLOT_BYTES)


def write_exit(spec: Spec, text: str) -> None:
    """Make the exit status durable, however long the disk refuses; what is left of the container need not live on."""
    while True:
        try:
            write_slot(EXIT_SLOT, text)
            os.fsync(RECORD_FD)
            directory = os.open(spec["directory"], os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except FileNotFoundError:
            return  # The directory was taken away: there is nobody to tell.
        except OSError:
            end_all(spec["kill_file"])
            time.sleep(DISK_RETRY_SECONDS)
        else:
            return


def write_file(path: str, data: bytes) -> None:
    """Write to a file of the kernel's."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


# ---- starting the command --------------------------------------------------------------------------------------------


def fork(spec: Spec) -> int:
    """Fork, the child in the control group of version 2, if there is one, from its first moment.

    Joining by a write to cgroup.procs waits for an RCU grace period of 6 to 16 ms; clone3(2) does not.
    """
    if not spec["cgroup"]:
        return os.fork()
    directory = os.open(spec["cgroup"], os.O_RDONLY)
    try:
        # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
        # set_tid_size, cgroup
        numbers = (CLONE_INTO_CGROUP, 0, 0, 0, int(_signal.SIGCHLD), 0, 0, 0, 0, 0, directory)
        arguments = b"".join(number.to_bytes(8, sys.byteorder) for number in numbers)
        pid = int(_syscall(Long(SYS_CLONE3), arguments, Long(len(arguments))))
        if pid >= 0:
            return pid
        spec["join"].append(f"{spec['cgroup']}/cgroup.procs")
        return os.fork()
    finally:
        os.close(directory)


def become(spec: Spec, stdio: tuple[int, int, int], errors: int, parent: int) -> NoReturn:
    """Turn into the command. It returns never: a failure goes to `errors` as "errno step"."""
    step = "start"
    try:
        os.dup2(errors, HIGH_FD, inheritable=False)
        errors = HIGH_FD
        os.setsid()
        step = "join the control group"
        for path in spec["join"]:
            write_file(path, b"0")
        if spec["oom_score_adj"]:
            write_file("/proc/self/oom_score_adj", b"0")
        step = "open the standard streams"
        for target, source in enumerate(stdio):
            os.dup2(source, target)
        if spec["terminal"]:
            take_terminal()
        environment = spec["environment"]
        if spec["sockets"]:
            for number in range(spec["sockets"]):
                os.dup2(FIRST_FD + number, 3 + number)
            environment[b"LISTEN_PID"] = str(os.getpid()).encode()
        step = "set limits"
        for kind, soft, hard in spec["rlimits"]:
            resource.setrlimit(kind, (soft, hard))
        step = "pin to cores"
        if spec["cpus"]:
            os.sched_setaffinity(0, spec["cpus"])
        if spec["enter_as_owner"]:
            step = "enter the working directory"
            os.chdir(spec["working_dir"])
        if spec["user"] is not None:
            uid, gid, groups = spec["user"]
            step = "change the user"
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        if not spec["enter_as_owner"]:
            step = "enter the working directory"
            os.chdir(spec["working_dir"])
        os.umask(0o022)
        step = "give up privileges"
        if spec["no_new_privs"]:
            prctl(PR_SET_NO_NEW_PRIVS, 1)
        # After the change of user, which would clear it. It binds to the thread that forked: ours has but one then.
        prctl(PR_SET_PDEATHSIG, SIGKILL)
        if os.getppid() != parent:
            exit_now(127)
        # Also those that whoever started the orchestrator ignores, as a shell's `&` and nohup do.
        for number in set(range(1, 32)) - {SIGKILL, _signal.SIGSTOP}:
            _signal.signal(number, _signal.SIG_DFL)
        step = RUN_STEP
        execute(spec["command"], environment)
    except OSError as err:
        os.write(errors, f"{err.errno or 0} {step}".encode())
    except ValueError:  # of setrlimit, where it would raise a hard limit
        os.write(errors, f"{errno.EPERM} {step}".encode())
    except OverflowError:  # a number that no system call takes
        os.write(errors, f"{errno.EINVAL} {step}".encode())
    finally:
        exit_now(127)


def take_terminal() -> None:
    """Let the terminal that is our standard input control our session, so that it can interrupt what runs there."""
    import fcntl  # few commands need them, and every shim would wait for them
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def execute(command: list[bytes], environment: dict[bytes, bytes]) -> NoReturn:
    """Replace this process, looking for the program along PATH as execvp(3) does."""
    program = command[0]
    if b"/" in program:
        os.execve(program, command, environment)
    refused = None
    for directory in environment.get(b"PATH", b"").split(b":"):
        try:
            os.execve(directory + b"/" + program if directory else program, command, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as err:
            refused = err
    raise refused or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def launch(spec: Spec, stdio: tuple[int, int, int]) -> tuple[int, str]:
    """Start the command. Return its pid and "", or 0 and what failed."""
    read_end, write_end = os.pipe()
    parent = os.getpid()
    pid = fork(spec)
    if pid == 0:
        become(spec, stdio, write_end, parent)
    os.close(write_end)
    failure = b""
    while True:
        data = os.read(read_end, 4096)
        if not data:
            break
        failure += data
    os.close(read_end)
    if failure:
        os.waitpid(pid, 0)
        return 0, failure.decode()
    return pid, ""


# ---- ending everything -----------------------------------------------------------------------------------------------


def children() -> list[int]:
    """Return the pids of our direct children. None of them can be reused before we wait for it."""
    found = []
    mine = os.getpid()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if int(stat_fields(name)[1]) == mine:
                found.append(int(name))
        except (OSError, IndexError):
            continue
    return found


def end_all(kill_file: str) -> None:
    """Kill and reap everything that descends from us. What loses its parent becomes our child, so nothing escapes.

    What others started in the container, as commands, is no descendant of ours: the control group has it too.
    """
    if kill_file:
        try:
            write_file(kill_file, b"1")
        except OSError:
            kill_file = ""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        if kill_file:
            try:
                write_file(kill_file, b"1")
            except OSError:
                kill_file = ""
        for child in children():
            try:
                os.kill(child, SIGKILL)
            except OSError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


# ---- logs ------------------------------------------------------------------------------------------------------------


class Stream:
    """One output of the container on its way to numbered segments.

    A segment's file is named after the offset of its first byte, so what is missing between two segments shows from
    their names and sizes: that is how lost bytes are marked.
    """

    def __init__(self, fd: int, prefix: str, segment_bytes: int, segments: int) -> None:
        self.fd = fd
        self.open = True
        self.pending: list[tuple[bytes, int] | int] = []  # (bytes, time) or a number of bytes that were dropped
        self.buffered = 0
        self.taken = 0
        self.prefix = prefix
        self.segment_bytes = segment_bytes
        self.keep = segments
        self.kept: list[str] = []
        self.offset = 0
        self.data_fd = -1
        self.index_fd = -1
        self.room = 0
        self.indexed_at = 0
        self.retry_at = 0.0

    def store(self, data: bytes, written_at: int) -> None:
        """Write `data`, or count what the disk refuses."""
        view = memoryview(data)
        while view:
            if self.data_fd < 0 and time.monotonic() < self.retry_at:
                self.offset += len(view)
                return
            try:
                if self.room <= 0:
                    self.next_segment()
                if written_at - self.indexed_at >= INDEX_INTERVAL_NS:
                    entry = self.offset.to_bytes(8, "little") + written_at.to_bytes(8, "little")
                    os.write(self.index_fd, entry)
                    self.indexed_at = written_at
                    self.room -= len(entry)
                count = os.write(self.data_fd, view[: max(self.room, 1)])
            except OSError:
                self.close()
                self.retry_at = time.monotonic() + DISK_RETRY_SECONDS
                self.offset += len(view)
                return
            self.offset += count
            self.room -= count
            view = view[count:]

    def skip(self, count: int) -> None:
        """Leave out bytes that were dropped before they came here."""
        self.close()
        self.offset += count

    def next_segment(self) -> None:
        """Begin a segment and give up the oldest."""
        self.close()
        path = f"{self.prefix}-{self.offset:020d}"
        self.data_fd = os.open(f"{path}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.kept.append(path)
        self.index_fd = os.open(f"{path}.index", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.room = self.segment_bytes
        self.indexed_at = 0
        while len(self.kept) > self.keep:
            remove_segment(self.kept.pop(0))

    def close(self) -> None:
        """End the segment. One without a byte is taken back: the next one may begin elsewhere."""
        self.room = 0
        if self.data_fd >= 0:
            if os.fstat(self.data_fd).st_size == 0:
                remove_segment(self.kept.pop())
            os.close(self.data_fd)
            self.data_fd = -1
        if self.index_fd >= 0:
            os.close(self.index_fd)
            self.index_fd = -1


def remove_segment(path: str) -> None:
    """Remove a segment's files, the data last: a reader takes the data for the proof that the segment is there."""
    for suffix in (".index", ".log"):
        try:
            os.unlink(path + suffix)
        except OSError:
            continue


class Writer:
    """Writes to disk in a thread, so that a slow disk never stops the container.

    While the buffer is full the container waits; when the disk has not moved for `STALL_SECONDS`, bytes are dropped and
    counted instead.
    """

    def __init__(self, streams: list[Stream], limit: int, wake: int) -> None:
        self.streams = streams
        self.limit = limit
        self.wake = wake
        self.lock = _thread.allocate_lock()
        self.work = _thread.allocate_lock()
        self.work.acquire()
        self.busy = False
        self.progress = 0
        _thread.start_new_thread(self.run, ())

    def put(self, stream: Stream, data: bytes, drop: bool) -> None:
        """Hand over what was read."""
        stream.taken += len(data)
        with self.lock:
            if drop:
                if stream.pending and isinstance(stream.pending[-1], int):
                    stream.pending[-1] += len(data)
                else:
                    stream.pending.append(len(data))
            else:
                stream.pending.append((data, time.time_ns()))
                stream.buffered += len(data)
            if self.work.locked():
                self.work.release()

    def full(self) -> bool:
        """Whether no more should be read now."""
        return any(stream.buffered >= self.limit for stream in self.streams)

    def idle(self) -> bool:
        """Whether everything was written."""
        with self.lock:
            return not self.busy and not any(stream.pending for stream in self.streams)

    def run(self) -> None:
        """Write for ever."""
        while True:
            self.work.acquire()
            self.busy = True
            again = True
            while again:
                again = False
                for stream in self.streams:
                    with self.lock:
                        batch, stream.pending = stream.pending, []
                    was_full = self.full()
                    for item in batch:
                        again = True
                        if isinstance(item, int):
                            stream.skip(item)
                        else:
                            stream.store(*item)
                            with self.lock:
                                stream.buffered -= len(item[0])
                        self.progress += 1
                    if was_full:
                        wake(self.wake)
            self.busy = False
            wake(self.wake)


def wake(fd: int) -> None:
    """Make the main thread look around."""
    try:
        os.write(fd, b"\0")
    except OSError:
        return  # The pipe is full: it will look anyway.


# ---- the two ways to live --------------------------------------------------------------------------------------------


class Wakeups:
    """A pipe that becomes readable when a child ends or the writer has something to say."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self.write_end, False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.set_wakeup_fd(self.write_end, warn_on_full_buffer=False)

    def drain(self) -> None:
        """Forget the wakeups that have come."""
        try:
            while os.read(self.read_end, 4096):
                pass
        except BlockingIOError:
            return


def reap(main: int) -> int | None:
    """Reap what has ended. Return the wait status of the main process if it was among them."""
    status = None
    while True:
        try:
            pid, ended_with = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == main:
            status = ended_with


def pass_on_sigterm(main: int) -> None:
    """Let a SIGTERM for us reach the container, which then ends in good order."""
    pidfd = os.pidfd_open(main)

    def handler(*_: object) -> None:
        try:
            _signal.pidfd_send_signal(pidfd, SIGTERM)
        except OSError:
            return

    _signal.signal(SIGTERM, handler)


def was_killed_for_memory(path: str) -> bool:
    """Whether the control group's counter of killed processes has moved."""
    if not path:
        return False
    try:
        lines = read_file(path).splitlines()
    except OSError:
        return False
    return any(line.startswith(b"oom_kill ") and int(line.split()[1]) > 0 for line in lines)


def processor_nanoseconds(path: str) -> int:
    """Return what the container has used: all that we have reaped, or more where the control group has counted more."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    reaped = int((usage.ru_utime + usage.ru_stime) * 1e9)
    if not path:
        return reaped
    try:
        words = read_file(path).split()
    except OSError:
        return reaped
    if words[:1] == [b"usage_usec"]:
        return max(reaped, int(words[1]) * 1000)
    return max(reaped, int(words[0]))


def read_some(stream: Stream) -> bytes | None:
    """Return what the container wrote, nothing at the end, or None where there is nothing now."""
    try:
        return os.read(stream.fd, CHUNK_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def report(text: str) -> None:
    """Tell the runtime, if it still listens."""
    try:
        os.write(REPORT_FD, text.encode())
    except OSError:
        return


def describe(status: int) -> str:
    """Return a wait status as "code signal", with "-" for what it has not."""
    if os.WIFSIGNALED(status):
        return f"- {os.WTERMSIG(status)}"
    return f"{os.WEXITSTATUS(status)} -"


def run_container(spec: Spec) -> None:
    """Start the container and stand over it to its end."""
    write_slot(SHIM_SLOT, f"shim {os.getpid()} {start_time(os.getpid())} {spec['boot_id']}")
    wakeups = Wakeups()
    null = os.open("/dev/null", os.O_RDONLY)
    pipes = [os.pipe(), os.pipe()]
    main, failure = launch(spec, (null, pipes[0][1], pipes[1][1]))
    if not main:
        code, _, step = failure.partition(" ")
        write_exit(spec, f"exit - - 0 {time.time_ns()} start-failed can't {step}: {os.strerror(int(code))}")
        report(f"failed {failure}")
        return
    write_slot(MAIN_SLOT, f"main {main} {start_time(main)} {time.time_ns()}")
    pass_on_sigterm(main)
    report("ok")
    for fd in (REPORT_FD, null, pipes[0][1], pipes[1][1], *range(FIRST_FD, FIRST_FD + spec["sockets"])):
        os.close(fd)
    streams = []
    for name, (fd, _) in zip(("stdout", "stderr"), pipes, strict=True):
        os.set_blocking(fd, False)
        streams.append(Stream(fd, f"{spec['logs']}/{name}", spec["segment_bytes"], spec["segments"]))
    writer = Writer(streams, spec["buffer_bytes"], wakeups.write_end)
    status = pump(main, streams, writer, wakeups)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == SIGKILL and was_killed_for_memory(spec["oom_file"])
    write_exit(spec, f"exit {describe(status)} {int(killed)} {time.time_ns()} - ")
    end_all(spec["kill_file"])
    finish_logs(streams, writer)
    totals = " ".join(str(stream.taken) for stream in streams)
    write_slot(END_SLOT, f"end {totals} {processor_nanoseconds(spec['cpu_file'])}")


def pump(main: int, streams: list[Stream], writer: Writer, wakeups: Wakeups) -> int:
    """Move output to the writer until the main process ends; return its wait status."""
    poll = select.poll()
    poll.register(wakeups.read_end, select.POLLIN)
    reading: list[Stream] = []
    moved_at, progress, dropping = time.monotonic(), 0, False
    while True:
        full = writer.full()
        now = time.monotonic()
        if not full or writer.progress != progress:
            moved_at, progress, dropping = now, writer.progress, False
        elif now - moved_at >= STALL_SECONDS:
            dropping = True
        wanted = [stream for stream in streams if stream.open and (dropping or not full)]
        if wanted != reading:
            for stream in reading:
                poll.unregister(stream.fd)
            for stream in wanted:
                poll.register(stream.fd, select.POLLIN)
            reading = wanted
        timeout = None if dropping or not full else (moved_at + STALL_SECONDS - now) * 1000 + 1
        ready = {fd for fd, _ in poll.poll(timeout)}
        for stream in list(reading):
            if stream.fd not in ready:
                continue
            data = read_some(stream)
            if data:
                writer.put(stream, data, dropping)
            elif data is not None:
                poll.unregister(stream.fd)
                reading = [other for other in reading if other is not stream]
                stream.open = False
                os.close(stream.fd)
        if wakeups.read_end in ready:
            wakeups.drain()
            status = reap(main)
            if status is not None:
                return status


def finish_logs(streams: list[Stream], writer: Writer) -> None:
    """Take what is left in the pipes, whose writers are all dead, and wait for the disk, but not for ever."""
    deadline = time.monotonic() + FLUSH_SECONDS
    for stream in streams:
        while stream.open:
            late = time.monotonic() >= deadline
            while writer.full() and time.monotonic() < deadline:
                time.sleep(0.001)
            data = read_some(stream)
            if not data:
                break
            writer.put(stream, data, late)
    while not writer.idle() and time.monotonic() < deadline:
        time.sleep(0.0005)


def run_command(spec: Spec) -> None:
    """Start a command in a container; end it and all it started when the control pipe closes, whoever closes it."""
    wakeups = Wakeups()
    stdio = (FIRST_FD + 1, FIRST_FD + 2, FIRST_FD + 3)
    main, failure = launch(spec, stdio)
    if not main:
        report(f"failed {failure}\n")
        return
    for fd in stdio:
        os.close(fd)
    report("ok\n")
    poll = select.poll()
    poll.register(FIRST_FD, select.POLLIN)
    poll.register(wakeups.read_end, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if wakeups.read_end in ready:
            wakeups.drain()
            status = reap(main)
            if status is not None:
                report(f"exit {describe(status)}\n")
        if FIRST_FD in ready:
            end_all("")
            return


def close_others(mine: list[int]) -> None:
    """Keep our own descriptors from the container, and let go of those that the program before us let slip."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd in mine:
            os.set_inheritable(fd, False)
        elif fd > 2:
            try:
                os.close(fd)
            except OSError:
                continue  # The listing's own descriptor.


def main() -> None:
    """Do what the spec says."""
    parts = []
    while True:
        part = os.read(SPEC_FD, 1 << 20)
        if not part:
            break
        parts.append(part)
    spec = marshal.loads(b"".join(parts))  # noqa: S302 # it comes from the runtime that started us
    os.close(SPEC_FD)
    close_others(spec["fds"])
    os.chdir("/")
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if spec["oom_score_adj"]:
        try:
            write_file("/proc/self/oom_score_adj", str(spec["oom_score_adj"]).encode())
        except OSError:
            spec["oom_score_adj"] = 0  # Not permitted here: then the container need not undo it either.
    if spec["command_only"]:
        run_command(spec)
    else:
        run_container(spec)


if __name__ == "__main__":
    try:
        main()
    except Exception as err:
        # A shim that can't go on takes its container with it; the runtime reports "shim-lost" and finds this text.
        frame = err.__traceback__
        while frame is not None:
            sys.stderr.write(f"{frame.tb_frame.f_code.co_name}:{frame.tb_lineno} ")
            frame = frame.tb_next
        sys.stderr.write(f"{type(err).__name__}: {err}\n")
        end_all("")
        exit_now(1)
    exit_now(0)
