"""System calls of a command that change files, and strace, which makes one of them fail or kills the command there."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

STRACE = shutil.which("strace")
CALLS = (
    *("write", "pwrite64", "writev", "ftruncate", "truncate", "rename", "renameat", "renameat2", "link", "linkat"),
    *("unlink", "unlinkat", "fsync", "fdatasync", "mkdir", "mkdirat", "rmdir"),
)
"""What changes files or flushes them."""
REMOVES = {"unlink", "unlinkat", "rmdir"}
_LINE = re.compile(r"(?:(\d+) +)?(\w+)\((.*)")


@dataclass(frozen=True)
class Call:
    """One system call of a command: the n-th of this name in its thread, and the first path that it is about."""

    name: str
    n: int
    path: str


@dataclass(frozen=True)
class Fault:
    """What happens at one call: an error such as "ENOSPC", or "SIGKILL" just before it.

    Calls of other threads with the same number are hit as well; what counts is that something is.
    """

    call: Call
    what: str

    @property
    def option(self) -> str:
        """Argument of strace."""
        effect = f"signal={self.what}" if self.what.startswith("SIG") else f"error={self.what}"
        return f"inject={self.call.name}:{effect}:when={self.call.n}"

    def __str__(self) -> str:
        return f"{self.what} at {self.call.name} {self.call.n} ({Path(self.call.path).name})"


class Tracer:
    """strace, attached to a process before it begins.

    Parameters
    ----------
    log : file for its output.
    options : further arguments, such as a fault to inject.
    """

    def __init__(self, log: Path, *options: str) -> None:
        assert STRACE is not None
        names = ",".join(f"?{name}" for name in CALLS)
        self._words = [STRACE, "-f", "-qq", "-y", "-s", "0", "-o", str(log), "-e", f"trace={names}"]
        for option in options:
            self._words += ["-e", option]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def attach(self, numbers: list[int]) -> None:
        """Watch a process; see :meth:`tests.faults.preloaded.Preloaded.run`."""
        self._process = subprocess.Popen([*self._words, "-p", str(numbers[0])], stderr=subprocess.PIPE)
        status = Path(f"/proc/{numbers[0]}/status")
        end = time.monotonic() + 20
        while "TracerPid:\t0\n" in status.read_text(encoding="ascii", errors="replace"):
            assert self._process.poll() is None, self._process.communicate()[1]
            assert time.monotonic() < end, "strace does not attach"
            time.sleep(0.001)

    def lines(self) -> list[str]:
        """The calls that were seen, after the process has ended."""
        assert self._process is not None
        self._process.communicate(timeout=20)
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()


def calls_on(folder: Path, lines: list[str]) -> list[Call]:
    """Calls in a log that are about files in a folder, the working directory, numbered as strace counts them."""
    counted: Counter[tuple[str, str]] = Counter()
    found = []
    for line in lines:
        matched = _LINE.match(line)
        if matched is None or "resumed>" in line:
            continue
        thread, name, rest = matched.groups()
        counted[thread, name] += 1
        if (path := _path(rest)) is not None and (not path.startswith("/") or Path(path).is_relative_to(folder)):
            found.append(Call(name, counted[thread, name], path))
    return found


def _path(arguments: str) -> str | None:
    """Path of a call: its first text, else that of its file number."""
    for pattern in (r'"((?:[^"\\]|\\.)+)"', r"<([^<>]+)>"):
        if found := re.search(pattern, arguments):
            return found[1]
    return None


def was_hit(lines: list[str]) -> bool:
    """Whether an injected fault came to pass."""
    return any("(INJECTED)" in line or "killed by SIGKILL" in line for line in lines)
