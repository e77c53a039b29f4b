"""Programs that use dicom_etl, each in a process of its own, without the half second that importing takes.

One process imports all there is and waits. Each program runs in a fork of it: with its own arguments, folder, streams,
audit hooks and limits, and what it changes is gone with it. What a test must know of a program's start (its imports,
its signals before Python has begun, the environment that Python reads) needs a process from the beginning instead.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
COMMAND = """
import sys
from dicom_etl.cli import main
sys.argv[0] = "dicom-etl"
main()
"""
"""The program of the command line."""
_SERVER = """
import gc, importlib, json, os, pkgutil, sys
import dicom_etl

for module in pkgutil.walk_packages(dicom_etl.__path__, "dicom_etl."):
    if ".adapters" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in ("h5py", "jinja2", "PIL.Image", "PIL.ImageDraw", "PIL.ImageFont", "pydicom"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
gc.freeze()  # else each fork copies and clears all of it when it ends, which takes longer than most programs
print("{}", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    pid = os.fork()
    if not pid:
        break
    print(pid, flush=True)
    _, status, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"code": code, "seconds": used.ru_utime + used.ru_stime}), flush=True)
else:
    sys.exit()
# Here begins the fork: it ends as a program does, by its last line, sys.exit or a signal.
for number, name in enumerate(("/dev/null", request["stdout"], request["stderr"])):
    handle = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_TRUNC)
    os.dup2(handle, number)
    os.close(handle)
os.chdir(request["folder"])
sys.argv = ["-c", *request["words"]]
exec(compile(request["program"], "<string>", "exec"), {"__name__": "__main__"})
"""


@dataclass(frozen=True)
class Done:
    """What came of a program.

    `seconds` is the time of the processor that it took, that of its own children included if it waited for them.
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    seconds: float


class Forks:
    """Runs programs, one at a time."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server
        assert server.stdin
        assert server.stdout
        self._requests: IO[str] = server.stdin
        self._answers: IO[str] = server.stdout
        self._answers.readline()  # it has imported everything

    def run(
        self,
        program: str,
        *words: object,
        folder: Path = ROOT,
        timeout: float = 60.0,
        meanwhile: Callable[[int], None] | None = None,
    ) -> Done:
        """Run a program with arguments in a folder; one that takes longer than `timeout` seconds is killed.

        ``meanwhile`` is called with its pid while it runs.
        """
        with tempfile.NamedTemporaryFile() as stdout, tempfile.NamedTemporaryFile() as stderr:
            request = {
                "program": program,
                "words": [os.fsdecode(str(word)) for word in words],
                "folder": str(folder),
                "stdout": stdout.name,
                "stderr": stderr.name,
            }
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
            timer = threading.Timer(timeout, self._end)
            timer.start()
            pid = int(self._answers.readline())
            if meanwhile is not None:
                meanwhile(pid)
            answer = self._answers.readline()
            timer.cancel()
            assert answer, f"{words} took longer than {timeout:g} s, or ended what started it"
            told = json.loads(answer)
            return Done(told["code"], stdout.read(), stderr.read(), told["seconds"])

    def _end(self) -> None:
        os.killpg(self._server.pid, signal.SIGKILL)


@contextmanager
def forks(**environment: str) -> Iterator[Forks]:
    """Start the process that waits, with further variables in its environment; end it with the block."""
    # Threads of a library of numerics would be lost in the forks.
    alone = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        env=os.environ | alone | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, so that a program that hangs ends with what started it
    )
    with server:  # it ends when its standard input does
        yield Forks(server)
