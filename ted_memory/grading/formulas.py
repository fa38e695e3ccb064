"""Whether two formulas are equal: math-verify, in a process of its own that can be ended.

It stands alone, so that this process starts without LangChain.
"""

import atexit
import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from typing import Any

COMPARING = 5.0
"""Seconds that comparing two mathematical answers may take; a power tower takes for ever."""
LONGEST = 500  # characters; the parser's time grows faster than these
# of address space for the comparison: 9^{9^{9}} fills any machine before it is done
MOST_BYTES = 2**31
_SYMBOLS = {"pi": r"\pi", "infinity": r"\infty"}


class _Comparer:
    """Compares formulas in a process of its own, which can be ended.

    A comparison may compute for ever, or eat all memory. The library's own time limits are signals,
    which only a main thread can have, and which long arithmetic ignores.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def equal(self, wanted: str, said: str) -> bool:
        """Tell whether two formulas are equal; blocks for `COMPARING` seconds at most.

        Raises:
            ValueError: it took too long.
        """
        with self._lock:
            process = self._running()
            alarm = threading.Timer(COMPARING, process.kill)
            alarm.start()
            reply = _exchange(process, [wanted, said])
            alarm.cancel()
            if not reply:
                self.close()
                raise ValueError(
                    f"the answer could not be compared with the reference in {COMPARING:g} s"
                )
            return bool(json.loads(reply))

    def close(self) -> None:
        """End the process; the next comparison starts another one."""
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(OSError):
                self._process.communicate()
            self._process = None

    def leave_to_parent(self) -> None:
        """In a forked child begin anew, or the two would read each other's answers.

        The parent's process is kept, so that no garbage collection looks after it either.
        """
        _OF_PARENT.append(self._process)
        self.__init__()  # type: ignore[misc]

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            self.close()
            pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
            command = [
                sys.executable,
                "-c",
                "from ted_memory.grading.formulas import serve; serve()",
            ]
            self._process = subprocess.Popen(
                command, text=True, encoding="utf-8", stdin=pipe, stdout=pipe, stderr=nowhere
            )
            # its start takes time that is not the comparison's
            if not _exchange(self._process, None):
                self.close()
                raise ValueError("the process that compares formulas does not start")
        return self._process


_OF_PARENT: list[object] = []

COMPARER = _Comparer()
atexit.register(COMPARER.close)


def _forked() -> None:
    COMPARER.leave_to_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_forked)


def _exchange(process: "subprocess.Popen[str]", question: object) -> str:
    """Send one line and read the one that comes back; nothing when the process has ended."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        return ""
    with contextlib.suppress(OSError):
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
    return stdout.readline()


def serve() -> None:
    """Compare the formulas that come as lines of JSON, until no more come.

    This is what the process of `_Comparer` does: a line is a pair of formulas, or null to ask
    whether it is ready, and the answer is true or false.
    """
    from math_verify import verify  # type: ignore[import-untyped]

    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        if hasattr(signal, "alarm"):
            signal.alarm(int(2 * COMPARING))  # ends this process, should nobody be left to do it
        pair = json.loads(line)
        wanted, said = (_formula(text) for text in pair) if pair else ("5", "5")
        equal = verify(wanted, said, timeout_seconds=None)
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        sys.stdout.write(json.dumps(bool(equal)) + "\n")
        sys.stdout.flush()


def _formula(text: str) -> Any:
    """Read a text with math-verify.

    It takes words for products of letters, so a sentence is only searched for formulas.
    """
    from math_verify import parse

    text = text.strip("*` ").replace("**", "^").replace("\N{GREEK SMALL LETTER PI}", r"\pi ")
    text = re.sub(r"(\d)[eE]([+-]?\d+)", r"\1 \\cdot 10^{\2}", text)
    text = re.sub(
        r"(?<![\\a-zA-Z])(pi|infinity)(?![a-zA-Z])", lambda found: _SYMBOLS[found.group()], text
    )
    words = re.findall(r"(?<![\\{a-zA-Z])(?!sqrt)[a-zA-Z]{3,}", text)
    marked = any(mark in text for mark in ("$", "\\(", "\\["))
    is_formula = not marked and len(words) < 2
    return parse(f"${text}$" if is_formula else text, parsing_timeout=None)
