"""The embedded server, with real processes: who starts it, who ends it, what survives."""

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from ted_memory import Add, TedMemory, open_memory
from ted_memory.errors import StoreUnavailable
from ted_memory.storage.embedded import server as embedded
from ted_memory.storage.embedded.server import EmbeddedServer
from ted_memory.testing import wait_until
from tests.storage import user_process

User = subprocess.Popen[str]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Path]:
    """A fresh folder. Whatever a test does, no server of it may be left."""
    folder = tmp_path / "home"
    yield folder
    await wait_until(lambda: not processes(folder), what="the end of the server and its supervisor")


@pytest.fixture
def users() -> Iterator[list[User]]:
    """Processes that a test starts; those that it left are killed."""
    started: list[User] = []
    yield started
    for user in started:
        user.kill()
        user.communicate()


def start_user(home: Path, text: str, users: list[User]) -> User:
    command = [sys.executable, user_process.__file__, str(home), text]
    user = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    users.append(user)
    return user


def start_quietly(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def is_closed_to_others(path: Path) -> bool:
    return stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def make_folder(path: Path, mode: int) -> None:
    path.mkdir(exist_ok=True)
    path.chmod(mode)


def acknowledged(user: User) -> int:
    """Return the version that a process's commit made, as soon as it says so."""
    assert user.stdout is not None
    return int(user.stdout.readline())


def processes(home: Path) -> dict[int, str]:
    """Return what serves a folder: pid -> "server" or "supervisor"."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            if EmbeddedServer(home).socket_path in command:
                found[int(entry.name)] = "supervisor" if "supervisor.py" in command else "server"
    return found


def pid_of(kind: str, home: Path) -> int:
    [pid] = [pid for pid, found in processes(home).items() if found == kind]
    return pid


async def texts(memory: TedMemory) -> set[str]:
    return {e.text for e in await memory.load()}


def open_shared(home: Path) -> TedMemory:
    return open_memory(home=str(home), namespace="shared")


# --- who starts it


async def test_processes_that_race_for_a_fresh_folder_share_one_server(
    home: Path, users: list[User]
) -> None:
    for i in range(4):
        start_user(home, f"Lesson {i}.", users)
    assert sorted(acknowledged(user) for user in users) == [1, 2, 3, 4]
    assert sorted(processes(home).values()) == ["server", "supervisor"]
    async with open_shared(home) as memory:
        assert await texts(memory) == {f"Lesson {i}." for i in range(4)}


async def test_data_survive_closing_and_opening_again(home: Path) -> None:
    async with open_shared(home) as memory:
        await memory.commit([Add(text="Kept.")], author="me")
    await wait_until(lambda: not processes(home))
    async with open_shared(home) as memory:
        assert await texts(memory) == {"Kept."}


async def test_opening_again_at_once_works_while_the_old_server_is_going(home: Path) -> None:
    for i in range(5):
        async with open_shared(home) as memory:
            await memory.commit([Add(text=f"Lesson {i}.")], author="me")
    async with open_shared(home) as memory:
        assert len(await memory.load()) == 5


# --- who ends it


async def test_the_server_stays_as_long_as_anybody_uses_it(home: Path, users: list[User]) -> None:
    first, second = start_user(home, "First.", users), start_user(home, "Second.", users)
    acknowledged(first), acknowledged(second)
    server = pid_of("server", home)
    first.communicate()
    with pytest.raises(TimeoutError):  # several times the supervisor's period
        await wait_until(lambda: not processes(home), timeout=1.0)
    assert pid_of("server", home) == server
    second.communicate()
    await wait_until(lambda: not processes(home))


async def test_a_client_killed_after_an_acknowledged_commit_loses_nothing_and_leaves_nothing(
    home: Path, users: list[User]
) -> None:
    user = start_user(home, "Acknowledged.", users)
    acknowledged(user)
    user.send_signal(signal.SIGKILL)
    user.wait()
    await wait_until(lambda: not processes(home), what="the end of the server")
    async with open_shared(home) as memory:
        assert await texts(memory) == {"Acknowledged."}


async def test_a_killed_supervisor_takes_its_server_along_and_the_next_one_finds_the_data(
    home: Path, users: list[User]
) -> None:
    user = start_user(home, "Kept.", users)
    acknowledged(user)
    os.kill(pid_of("supervisor", home), signal.SIGKILL)
    await wait_until(lambda: not processes(home), what="the end of the server")
    async with open_shared(home) as memory:
        assert await texts(memory) == {"Kept."}
        assert sorted(processes(home).values()) == ["server", "supervisor"]


async def test_a_server_without_a_supervisor_is_replaced(home: Path) -> None:
    # as if its supervisor had been killed where the kernel can't tell it: somebody else started it
    server = EmbeddedServer(home)
    (home / "data").mkdir(parents=True)
    command = [
        embedded.find_server(),
        "--port",
        "0",
        "--unixsocket",
        server.socket_path,
        "--dir",
        str(home / "data"),
    ]
    with start_quietly([*command, "--appendonly", "yes"]) as stray:
        await wait_until(lambda: Path(server.socket_path).exists())
        async with open_shared(home) as memory:
            await memory.commit([Add(text="Kept.")], author="me")
            assert stray.wait(5) == 0
            assert sorted(processes(home).values()) == ["server", "supervisor"]
            assert await texts(memory) == {"Kept."}


async def test_a_server_killed_under_an_open_memory_comes_back_with_the_data(home: Path) -> None:
    async with open_shared(home) as memory:
        await memory.commit([Add(text="Before.")], author="me")
        # with everysec the server may hold a write back while a slow disk syncs the one before
        with redis.Redis(unix_socket_path=EmbeddedServer(home).socket_path) as client:
            await wait_until(lambda: client.info("persistence")["aof_buffer_length"] == 0)
        os.kill(pid_of("server", home), signal.SIGKILL)
        async with asyncio.timeout(5):
            await memory.commit([Add(text="After.")], author="me")
        assert await texts(memory) == {"Before.", "After."}


# --- who may use it


async def test_it_listens_on_a_socket_that_only_its_owner_can_open(home: Path) -> None:
    async with open_shared(home) as memory:
        await memory.load()
        with redis.Redis(unix_socket_path=EmbeddedServer(home).socket_path) as client:
            assert client.config_get("port") == {"port": "0"} or client.config_get("port") == {
                b"port": b"0"
            }
        for path in (
            home,
            home / "data",
            home / "server.sock",
            home / "server.log",
            home / "users.lock",
        ):
            assert is_closed_to_others(path), f"{path.name} is open to others"


async def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 40)
    path = Path(EmbeddedServer(home).socket_path)
    async with open_shared(home) as memory:
        await memory.commit([Add(text="Kept.")], author="me")
        assert is_closed_to_others(path)
        assert is_closed_to_others(path.parent)
    await wait_until(lambda: not processes(home))
    async with open_shared(home) as memory:
        assert await texts(memory) == {"Kept."}
    await wait_until(lambda: not processes(home))
    assert EmbeddedServer(tmp_path / ("else" * 40)).socket_path != str(path)


# --- whose folder it is


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o702])
async def test_a_folder_of_our_own_that_others_can_write_into_is_closed_to_them(
    home: Path, mode: int
) -> None:
    make_folder(home, mode)
    async with open_shared(home) as memory:
        assert is_closed_to_others(home)
        await memory.commit([Add(text="Kept.")], author="me")
    await wait_until(lambda: not processes(home))
    make_folder(home, mode)
    make_folder(home / "data", mode)
    async with open_shared(home) as memory:
        assert is_closed_to_others(home)
        assert is_closed_to_others(home / "data")
        assert await texts(memory) == {"Kept."}


@pytest.mark.parametrize(
    ("mode", "file"), [(0o777, "notes.txt"), (0o775, "notes.txt"), (0o1777, "")]
)
async def test_one_that_is_meant_for_others_is_refused(
    tmp_path: Path, mode: int, file: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if file:
        (home / file).write_text("ours")
    home.chmod(mode)
    with pytest.raises(
        StoreUnavailable, match=r"can be written by others .* nothing in it was read or changed"
    ) as told:
        await EmbeddedServer(home).ensure()
    assert "TED_MEMORY_HOME" in str(told.value)
    assert str(home) in str(told.value)
    assert "\n" not in str(told.value)
    assert {path.name for path in home.iterdir()} == ({file} if file else set())
    assert stat.S_IMODE(home.stat().st_mode) == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize("what", ["home", "data", "start.lock"])
async def test_somebody_elses_is_refused(tmp_path: Path, what: str) -> None:
    home, data = tmp_path / "home", tmp_path / "home" / "data"
    data.mkdir(parents=True)
    (home / "start.lock").touch()
    home.chmod(0o777)
    os.chown(home if what == "home" else home / what, 54321, -1)
    with pytest.raises(
        StoreUnavailable, match=r"belongs to user 54321|in it is somebody else's"
    ) as told:
        await EmbeddedServer(home).ensure()
    assert "TED_MEMORY_HOME" in str(told.value)
    assert not processes(home)
    assert list(data.iterdir()) == []


# --- what it says when it can't


async def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable) as caught:
        async with open_shared(tmp_path / "file" / "home"):
            pass
    message = str(caught.value)
    assert str(tmp_path / "file" / "home") in message
    assert "TED_MEMORY_HOME" in message
    assert "\n" not in message


async def test_without_a_server_binary_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreUnavailable) as caught:
        async with open_shared(tmp_path / "home"):
            pass
    message = str(caught.value)
    assert "install redis-server or valkey-server, or give the URL of a server" in message
    assert "\n" not in message


async def test_a_server_that_does_not_come_up_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "home" / "data" / "appendonlydir"
    data.mkdir(parents=True)
    (data / "appendonly.aof.manifest").write_text("this is no manifest\n")
    monkeypatch.setattr(embedded, "READY_TIMEOUT", 3.0)
    with pytest.raises(StoreUnavailable) as caught:
        await EmbeddedServer(tmp_path / "home").ensure()
    assert "did not come up" in str(caught.value)
    assert "manifest" in str(caught.value)


async def test_a_memory_closed_while_it_is_being_opened_holds_nothing(home: Path) -> None:
    for _ in range(5):
        memory = open_memory(home=str(home))
        opening = asyncio.create_task(memory.load())
        await asyncio.sleep(0.005)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await memory.aclose()
    await wait_until(lambda: not processes(home), timeout=30)
