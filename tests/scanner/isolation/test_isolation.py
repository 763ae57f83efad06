"""What a process gives up before it reads a model file, and that it works with less where the system allows less."""

from __future__ import annotations

import os
import platform
import re
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ordinary_user import as_ordinary_user, can_become_ordinary

from scanner.isolation import calls, seccomp
from scanner.isolation.lockdown import Layer, Plan
from scanner.isolation.paths import readable_paths
from scanner.isolation.statement import probe_isolation, read_statement

ROOT = Path(__file__).parents[3]
X86_HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
ACTIVE = {layer.name for layer in probe_isolation() if layer.active}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")


def needs(*names: str) -> pytest.MarkDecorator:
    missing = set(names) - ACTIVE
    return pytest.mark.skipif(bool(missing), reason=f"this system does not allow {', '.join(sorted(missing))}")


# A process of the same user, which ends with the one that starts it: what the lock keeps from others is tried on it.
OTHER = "import subprocess; cat = subprocess.Popen(['cat'], stdin=subprocess.PIPE); other = cat.pid"
USERS = ("oneself", "ordinary user") if os.name == "posix" and os.geteuid() == 0 else ("oneself",)


@dataclass(frozen=True)
class Runner:
    """Runs code as one user, in a process that is locked down to a folder or in one that is not.

    Attributes:
        folder: The user's.
        ordinary: Whether that is an ordinary user, where root runs the tests.
    """

    folder: Path
    ordinary: bool

    def locked(self, work: Path, code: str, before: str = "", **options: object) -> subprocess.CompletedProcess[str]:
        """Run code in a locked-down process; ``before`` runs ahead of that."""
        statement, report = os.pipe()
        plan = Plan(os.getpid(), readable_paths([str(ROOT)]), (str(work),), 2**20, 30, report)
        script = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{textwrap.dedent(before)}\n"
            "import scanner.isolation.lockdown as l; l.lock_down(l.Plan.from_json(sys.argv[1]))\n"
        )
        command = [sys.executable, "-I", "-c", script + textwrap.dedent(code), plan.to_json()]
        try:
            done = self._run(command, pass_fds=(report,), **options)
        finally:
            os.close(report)
        done.layers = {layer.name: layer for layer in read_statement(statement)}  # type: ignore[attr-defined]
        os.close(statement)
        return done

    def free(self, code: str, before: str = "") -> subprocess.CompletedProcess[str]:
        """Run code in a process that is not locked down."""
        return self._run([sys.executable, "-c", f"{textwrap.dedent(before)}\n{textwrap.dedent(code)}"])

    def refused(self, work: Path, code: str, *errors: str, before: str = "", fine_outside: bool = True) -> None:
        """The code fails with one of these exceptions in the locked-down process, and with none outside."""
        tried = f"try:\n{textwrap.indent(textwrap.dedent(code), '    ')}\nexcept OSError as e:\n"
        tried += "    print(type(e).__name__)\nelse:\n    print('done')\n"
        done = self.locked(work, tried, before)
        assert done.stdout.strip() in errors, done.stderr
        if fine_outside:
            free = self.free(tried, before)
            assert free.stdout.strip() == "done", free.stdout + free.stderr

    def _run(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            as_ordinary_user(command, self.folder) if self.ordinary else command,
            **{"cwd": self.folder, "capture_output": True, "text": True, "timeout": 60, "check": False, **options},
        )  # type: ignore[call-overload, no-any-return]


@pytest.fixture(params=USERS)
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    ordinary = request.param == "ordinary user"
    if ordinary and not can_become_ordinary():
        pytest.skip("this interpreter cannot be run as another user here")
    return Runner(tmp_path, ordinary)


@needs("seccomp", "landlock")
class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "code",
        [
            "import os; os.posix_spawn('/bin/true', ['true'], {})",
            "import subprocess; subprocess.run(['/bin/true'], check=True)",
            "import os\npid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)",
            "import os, signal; os.kill(other, 0)",
            "import socket; socket.socket(socket.AF_UNIX).close()",
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()",
            "import socket; socket.socketpair()[0].close()",
        ],
    )
    def test_processes_signals_and_sockets(self, runner: Runner, tmp_path: Path, code: str) -> None:
        runner.refused(tmp_path, code, "PermissionError", "OSError", before=OTHER)

    def test_files_outside(self, runner: Runner, tmp_path: Path) -> None:
        work, secret = tmp_path / "work", tmp_path / "secret"
        work.mkdir()
        secret.write_text("hunter2")
        for code in (
            f"open({str(secret)!r}).read()",
            "open('/etc/passwd').read()",
            f"__import__('os').listdir({str(tmp_path)!r})",
        ):
            runner.refused(work, code, "PermissionError")
        runner.refused(work, f"open({str(tmp_path / 'new')!r}, 'w').write('x')", "PermissionError")
        runner.refused(
            work, f"__import__('os').unlink({str(secret)!r}); open({str(secret)!r}, 'w').close()", "PermissionError"
        )
        runner.refused(work, f"__import__('os').truncate({str(secret)!r}, 0)", "PermissionError")
        assert secret.exists()

    @pytest.mark.parametrize(
        "call",
        [
            "os.chmod(PATH, 0o4777)",
            "os.chown(PATH, os.getuid(), os.getgid())",
            "os.lchown(PATH, os.getuid(), os.getgid())",
            "os.utime(PATH)",
            "os.setxattr(PATH, 'user.x', b'y')",
            "os.fchmod(os.open('.', os.O_RDONLY), 0o777)",
            "os.utime('own')",
        ],
    )
    def test_whose_a_file_is_and_who_may_use_it(self, runner: Runner, tmp_path: Path, call: str) -> None:
        """The kernel lets the owner do this without opening the file, and Landlock is about opening."""
        secret, work = tmp_path / "secret", tmp_path / "work"
        secret.write_text("hunter2")
        secret.chmod(0o600)
        work.mkdir()
        (work / "own").write_text("x")
        before = secret.stat()
        prepared = f"import os; PATH = {str(secret)!r}"
        runner.refused(work, call, "PermissionError", before=prepared, fine_outside=False)
        after = secret.stat()
        assert (after.st_mode, after.st_size, after.st_mtime_ns) == (before.st_mode, before.st_size, before.st_mtime_ns)
        runner.refused(work, call, "PermissionError", before=f"{prepared}; os.chdir({str(work)!r})")

    @pytest.mark.parametrize(
        "call",
        [
            "resource.prlimit(other, resource.RLIMIT_CPU, (1, 1))",
            "resource.prlimit(other, resource.RLIMIT_CPU)",
            "os.setpriority(os.PRIO_PROCESS, other, 19)",
            "os.sched_setaffinity(other, {0})",
            "os.sched_setscheduler(other, os.SCHED_IDLE, os.sched_param(0))",
            "raw(8, other)",
            "raw(10, 9)",
        ],
    )
    def test_other_processes(self, runner: Runner, tmp_path: Path, call: str) -> None:
        """Their limits and priorities; and signals by way of a file's owner (F_SETOWN, F_SETSIG)."""
        prepared = """
            import fcntl, os, resource
            pipe = os.pipe()[0]
            raw = lambda command, value: fcntl.fcntl(pipe, command, value)
        """
        runner.refused(tmp_path, call, "PermissionError", before=f"{OTHER}\n{textwrap.dedent(prepared)}")

    def test_it_cannot_choose_to_outlive_the_scanner(self, runner: Runner, tmp_path: Path) -> None:
        code = """
            import ctypes
            libc = ctypes.CDLL(None, use_errno=True)
            arguments = [ctypes.c_ulong(0)] * 4
            print(libc.prctl(1, *arguments), ctypes.get_errno())
        """
        assert runner.locked(tmp_path, code).stdout.strip() == "-1 1"

    def test_nothing_is_watched(self, runner: Runner, tmp_path: Path) -> None:
        code = """
            import ctypes
            libc = ctypes.CDLL(None, use_errno=True)
            print(libc.inotify_init1(0), ctypes.get_errno(), libc.memfd_create(b"x", 0), ctypes.get_errno())
        """
        assert runner.locked(tmp_path, code).stdout.strip() == "-1 1 -1 1"

    def test_the_environment_of_other_processes(self, runner: Runner, tmp_path: Path) -> None:
        runner.refused(tmp_path, "open(f'/proc/{other}/environ').read()", "PermissionError", before=OTHER)

    def test_devices_and_pipes_cannot_be_made(self, runner: Runner, tmp_path: Path) -> None:
        runner.refused(tmp_path, f"import os; os.mkfifo({str(tmp_path / 'fifo')!r})", "PermissionError")

    def test_its_own_folder_works(self, runner: Runner, tmp_path: Path) -> None:
        code = "import os; os.mkdir('d'); open('d/f', 'w').write('x'); os.rename('d/f', 'g'); print(open('g').read())"
        assert runner.locked(tmp_path, code).stdout.strip() == "x"

    def test_threads_and_its_own_signals_work(self, runner: Runner, tmp_path: Path) -> None:
        code = """
            import os, signal, threading
            seen = []
            signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
            os.kill(os.getpid(), signal.SIGUSR1)
            thread = threading.Thread(target=lambda: seen.append(2)); thread.start(); thread.join()
            print(seen)
        """
        assert runner.locked(tmp_path, code).stdout.strip() == "[1, 2]"

    def test_nothing_can_be_taken_back(self, runner: Runner, tmp_path: Path) -> None:
        code = """
            import resource
            for kind in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE):
                soft, hard = resource.getrlimit(kind)
                assert soft == hard
                try:
                    resource.setrlimit(kind, (hard + 1, hard + 1))
                except (ValueError, OSError):
                    continue
                print("raised", kind)
            status = open("/proc/self/status").read()
            print([line.split()[1] for line in status.splitlines() if line.startswith(("NoNewPrivs", "Seccomp:"))])
        """
        assert runner.locked(tmp_path, code).stdout.strip() == "['1', '2']"


@needs("privileges")
def test_no_capabilities_are_left(runner: Runner, tmp_path: Path) -> None:
    """But one, of root: to read files, where Landlock lets it. Nothing that the others allow works any more."""
    code = """
        import os, resource
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(*(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")))
        for call in (lambda: os.setgroups([0]), lambda: os.setresuid(1, 1, 1), lambda: os.nice(-1)):
            try:
                call()
            except OSError:  # not permitted, or no such user in a namespace of its own
                print("refused")
    """
    first, *rest = runner.locked(tmp_path, code).stdout.splitlines()
    read_any_file = 1 << 2 if os.geteuid() == 0 and not runner.ordinary else 0
    assert first.split() == [str(read_any_file), str(read_any_file), "0", "0"]
    assert rest == ["refused"] * 3


@needs("network namespace")
def test_there_is_no_network(runner: Runner, tmp_path: Path) -> None:
    """Told from the namespace alone, by the interfaces that it has."""
    done = runner.locked(tmp_path, "print([line.split(':')[0].strip() for line in open('/proc/self/net/dev')][2:])")
    assert done.stdout.strip() == "['lo']"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        runner.refused(
            tmp_path, f"import socket; socket.create_connection(('127.0.0.1', {port}), 5).close()", "PermissionError"
        )


@needs("ends with parent")
def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    code = f"""
        import os, subprocess, sys, time
        sys.path.insert(0, {str(ROOT)!r})
        from scanner.isolation.lockdown import Plan
        from scanner.isolation.paths import readable_paths
        read, report = os.pipe()
        plan = Plan(os.getpid(), readable_paths([{str(ROOT)!r}]), ({str(tmp_path)!r},), 2**20, 60, report)
        script = "import sys; sys.path.insert(0, {str(ROOT)!r}); import scanner.isolation.lockdown as l;"
        script += "l.lock_down(l.Plan.from_json(sys.argv[1])); import time; time.sleep(60)"
        child = subprocess.Popen([sys.executable, "-I", "-c", script, plan.to_json()], pass_fds=(report,))
        os.close(report)
        os.read(read, 65536)
        print(child.pid, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        subprocess.run(["sleep", "0.1"], check=False)
    pytest.fail("the child outlived its parent")


def hidden_calls(*numbers: int, error: int) -> str:
    """Code that makes system calls fail, as the rules of containers do."""
    audit = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[platform.machine()]
    code = [
        seccomp._instruction(0x20, 4),
        seccomp._instruction(0x15, audit, 1, 0),
        seccomp._instruction(0x06, 0x7FFF0000),
    ]
    code.append(seccomp._instruction(0x20, 0))
    for number in numbers:
        code += [seccomp._instruction(0x15, number, 0, 1), seccomp._instruction(0x06, 0x50000 | error)]
    code.append(seccomp._instruction(0x06, 0x7FFF0000))
    data = b"".join(code)
    return f"""
import ctypes, struct
libc = ctypes.CDLL(None)
libc.prctl(38, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
data = ctypes.create_string_buffer({data!r}, {len(data)})
prog = struct.pack("=H6xQ", {len(code)}, ctypes.addressof(data))
assert libc.prctl(22, ctypes.c_ulong(2), prog, ctypes.c_ulong(0), ctypes.c_ulong(0)) == 0
"""


UNSHARE = {"x86_64": 272, "aarch64": 97}.get(platform.machine(), 272)
SECCOMP = {"x86_64": 317, "aarch64": 277}.get(platform.machine(), 317)


@needs("seccomp", "landlock", "network namespace")
class TestLessIsAllowed:
    """A container's rules are imitated by a filter that makes the calls fail."""

    def test_without_namespaces(self, runner: Runner, tmp_path: Path) -> None:
        done = runner.locked(tmp_path, "print('ran')", before=hidden_calls(UNSHARE, error=1))
        assert done.stdout.strip() == "ran", done.stderr
        assert done.layers["network namespace"] == Layer("network namespace", False, "not permitted here")
        assert done.layers["landlock"].active
        assert done.layers["seccomp"].active

    def test_an_old_kernel_without_landlock(self, runner: Runner, tmp_path: Path) -> None:
        done = runner.locked(tmp_path, "print('ran')", before=hidden_calls(444, error=38))
        assert done.stdout.strip() == "ran", done.stderr
        assert not done.layers["landlock"].active
        assert "kernel" in done.layers["landlock"].detail
        assert done.layers["network namespace"].active

    def test_nothing_at_all(self, runner: Runner, tmp_path: Path) -> None:
        before = hidden_calls(UNSHARE, 444, SECCOMP, error=38)
        done = runner.locked(tmp_path, "import resource; print(resource.getrlimit(resource.RLIMIT_CPU))", before=before)
        assert done.stdout.strip() == "(30, 30)", done.stderr
        assert [name for name, layer in done.layers.items() if not layer.active] == [
            "network namespace",
            "landlock",
            "seccomp",
        ]

    def test_without_namespaces_a_socket_is_refused_all_the_same(self, runner: Runner, tmp_path: Path) -> None:
        code = "import socket\ntry:\n    socket.socket()\nexcept PermissionError:\n    print('refused')"
        assert runner.locked(tmp_path, code, before=hidden_calls(UNSHARE, error=1)).stdout.strip() == "refused"


ALLOWED, REFUSED = 0x7FFF0000, 0x50001


def decider(architecture: str, process: int) -> Callable[..., int]:
    """What the filter decides, evaluated here as the kernel would."""
    code = seccomp.program(architecture, process)
    steps = [struct.unpack("=HBBI", code[at : at + 8]) for at in range(0, len(code), 8)]
    audit = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[architecture]

    def decide(number: int, first: int = 0, arch: int = audit, second: int = 0) -> int:
        memory, loaded, at = {0: number, 4: arch, 16: first, 24: second}, 0, 0
        while True:
            kind, yes, no, value = steps[at]
            at += 1
            if kind == 0x06:
                return value
            if kind == 0x20:
                loaded = memory[value]
            else:
                taken = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[kind]
                at += yes if taken else no

    return decide


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_the_filter_is_sound(architecture: str) -> None:
    """Every path through it ends within it, in a decision."""
    decide, column = decider(architecture, 4711), 0 if architecture == "x86_64" else 1
    forbidden = {numbers[column] for numbers in calls.FORBIDDEN.values()}
    looked_at = (calls.CLONE, calls.KILL, calls.TGKILL, calls.PRLIMIT, calls.SCHED_SETAFFINITY)
    looked_at += (calls.PRCTL, calls.FCNTL, calls.IOCTL)
    conditional = {calls.CLONE3, *(pair[column] for pair in looked_at)}
    assert not forbidden & conditional
    for number in set(range(500)) - conditional:
        assert decide(number) == (REFUSED if number in forbidden else ALLOWED)
    assert decide(0, arch=0x40000003) == 0x80000000
    assert decide(calls.CLONE3) == 0x50026


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_the_filter_looks_at_arguments(architecture: str) -> None:
    decide, column = decider(architecture, 4711), 0 if architecture == "x86_64" else 1
    assert decide(calls.CLONE[column], 0x10000) == ALLOWED
    assert decide(calls.CLONE[column], 17) == REFUSED
    for signal in (calls.KILL, calls.TGKILL):
        assert [decide(signal[column], first) for first in (4711, 1, 0)] == [ALLOWED, REFUSED, REFUSED]
    for own in (calls.PRLIMIT, calls.SCHED_SETAFFINITY):
        assert [decide(own[column], first) for first in (4711, 0, 1)] == [ALLOWED, ALLOWED, REFUSED]
    assert [decide(calls.PRCTL[column], option) for option in (1, 15, 38)] == [REFUSED, ALLOWED, ALLOWED]
    for pair, refused_seconds in ((calls.FCNTL, calls.OWNERS_AND_WATCHES), (calls.IOCTL, calls.TERMINALS)):
        for second in (*range(20), *refused_seconds):
            assert decide(pair[column], 3, second=second) == (REFUSED if second in refused_seconds else ALLOWED)


def test_the_numbers_are_those_of_this_machine() -> None:
    """As the system's own headers have them, where there are some."""
    header = Path("/usr/include/asm-generic/unistd.h" if platform.machine() == "aarch64" else X86_HEADER)
    if not header.exists():
        pytest.skip("no headers of the kernel here")
    stated = dict(re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", header.read_text()))
    column = 0 if platform.machine() == "x86_64" else 1
    named = {name: numbers[column] for name, numbers in calls.FORBIDDEN.items()}
    named |= {"prlimit64": calls.PRLIMIT[column], "prctl": calls.PRCTL[column], "fcntl": calls.FCNTL[column]}
    named |= {"ioctl": calls.IOCTL[column], "sched_setaffinity": calls.SCHED_SETAFFINITY[column]}
    for name, number in named.items():
        if name in stated:
            assert int(stated[name]) == number, name


def test_a_statement_that_is_none() -> None:
    for text in (b"", b"\n", b"[1]\n", b'{"name": 3}\n', b"x" * 20_000):
        read, write = os.pipe()
        os.write(write, text)
        os.close(write)
        assert not any(layer.active for layer in read_statement(read))
        os.close(read)


def test_homes_and_checkouts_are_not_readable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    monkeypatch.chdir(tmp_path)
    paths = readable_paths(["/", str(tmp_path), str(tmp_path / "home"), str(tmp_path / "libraries"), str(ROOT)])
    assert str(tmp_path / "libraries") in paths
    assert not {"/", str(tmp_path), str(tmp_path / "home"), str(ROOT)} & set(paths)
    assert str(ROOT / "scanner") in paths
