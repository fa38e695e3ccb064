"""The commands by which people look after a set, as they are typed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ted_memory import Add, open_memory
from ted_memory.experience.lift import estimate
from ted_memory.models import Presentation, Usage
from tests.command_line import run_cli
from tests.conftest import Server
from tests.learner.worlds import episode


@pytest.fixture
async def filled(valkey: Server, namespace: str) -> tuple[str, list[str]]:
    """A namespace with one active and one proposed lesson; and their ids."""
    async with open_memory(valkey.url, namespace=namespace) as memory:
        commit = await memory.commit(
            [
                Add(text="One.", sources=("principal:bob",)),
                Add(text="Two.", state="proposed", sources=("run:7",)),
            ],
            author="me",
        )
    return namespace, [applied.id for applied in commit.applied]


def run(valkey: Server, namespace: str, cwd: Path, *args: str, fails: bool = False) -> str:
    done = run_cli(args[0], "--url", valkey.url, "--namespace", namespace, *args[1:], cwd=cwd)
    assert done.returncode == (1 if fails else 0), done.stderr
    return done.stderr if fails else done.stdout


def shown(valkey: Server, namespace: str, cwd: Path) -> dict[str, tuple[str, str]]:
    told = json.loads(run(valkey, namespace, cwd, "show", "--json"))
    return {e["text"]: (e["id"], e["state"]) for e in told["experiences"]}


def test_a_set_is_edited_approved_rejected_and_compared(
    valkey: Server, filled: tuple[str, list[str]], tmp_path: Path
) -> None:
    namespace, (one, two) = filled
    assert "version 2" in run(
        valkey, namespace, tmp_path, "edit", one, "--text", "First.", "--when", "asked"
    )
    assert "version 3" in run(valkey, namespace, tmp_path, "approve", two, "--author", "anna")
    assert json.loads(run(valkey, namespace, tmp_path, "reject", one, "--json"))["version"] == 4
    assert shown(valkey, namespace, tmp_path) == {"Two.": (two, "active")}
    told = run(valkey, namespace, tmp_path, "diff", "1", "3")
    assert told.splitlines() == [
        f"- {one}  active    One.",
        f"+ {one}  active    When asked: First.",
        f"- {two}  proposed  Two.",
        f"+ {two}  active    Two.",
    ]
    assert run(valkey, namespace, tmp_path, "diff", "4").strip() == "no difference"
    changes = json.loads(run(valkey, namespace, tmp_path, "diff", "3", "4", "--json"))["changes"]
    assert [(c["before"]["text"], c["after"]) for c in changes] == [("First.", None)]
    assert "anna" in run(valkey, namespace, tmp_path, "log")


def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    valkey: Server, filled: tuple[str, list[str]], tmp_path: Path
) -> None:
    namespace, (one, two) = filled
    said = run(valkey, namespace, tmp_path, "approve", two, "nobody", fails=True)
    assert said.count("\n") == 1
    assert "nobody: there is no such id" in said
    assert "it is so already" in run(
        valkey, namespace, tmp_path, "edit", one, "--text", "One.", fails=True
    )
    assert "from 0 to 1" in run(valkey, namespace, tmp_path, "diff", "7", fails=True)
    assert shown(valkey, namespace, tmp_path)["Two."] == (two, "proposed")


def test_a_set_goes_to_another_installation_in_a_file(
    valkey: Server, filled: tuple[str, list[str]], tmp_path: Path
) -> None:
    namespace, ids = filled
    run(valkey, namespace, tmp_path, "export", "set.jsonl")
    assert (tmp_path / "set.jsonl").read_text() == run(valkey, namespace, tmp_path, "export")
    other = f"{namespace}.other"
    assert "2 added" in run(valkey, other, tmp_path, "import", "set.jsonl")
    assert shown(valkey, other, tmp_path) == shown(valkey, namespace, tmp_path)
    assert "--merge" in run(valkey, other, tmp_path, "import", "set.jsonl", fails=True)
    report = json.loads(run(valkey, other, tmp_path, "import", "set.jsonl", "--merge", "--json"))
    assert report["unchanged"] == ids
    (tmp_path / "set.jsonl").write_text((tmp_path / "set.jsonl").read_text()[:-9])
    assert "cut off" in run(valkey, f"{other}2", tmp_path, "import", "set.jsonl", fails=True)
    assert "cannot be written" in run(
        valkey, namespace, tmp_path, "export", "no/such/folder", fails=True
    )


def test_a_purge_says_what_it_did(
    valkey: Server, filled: tuple[str, list[str]], tmp_path: Path
) -> None:
    namespace, _ = filled
    told = run(valkey, namespace, tmp_path, "purge", "--source", "run:7")
    assert "1 lessons removed, 0 put back" in told
    assert list(shown(valkey, namespace, tmp_path)) == ["One."]
    assert (
        json.loads(run(valkey, namespace, tmp_path, "purge", "--source", "run:8", "--json"))[
            "removed"
        ]
        == []
    )


def test_a_purge_of_a_source_that_nothing_came_from_says_so(
    valkey: Server, filled: tuple[str, list[str]], tmp_path: Path
) -> None:
    told = run(valkey, filled[0], tmp_path, "purge", "--source", "pricipal:bob")
    assert "nothing here came from 'pricipal:bob'. Sources stand in" in told
    assert "nothing here" not in run(
        valkey, filled[0], tmp_path, "purge", "--source", "principal:bob"
    )


def test_a_person_is_forgotten_and_the_report_tells_of_it(
    valkey: Server, filled: tuple[str, list[str]], tmp_path: Path
) -> None:
    namespace, _ = filled
    told = run(valkey, namespace, tmp_path, "forget", "--principal", "bob")
    assert "1 lessons removed" in told
    assert "the server is yours" in told
    assert (
        json.loads(run(valkey, namespace, tmp_path, "forget", "--thread", "t", "--json"))["runs"]
        == 0
    )
    for wrong in ([], ["--principal", "a", "--run", "b"]):
        assert "one of --principal, --run, --thread" in run(
            valkey, namespace, tmp_path, "forget", *wrong, fails=True
        )


def test_a_dash_is_standard_output(
    valkey: Server, filled: tuple[str, list[str]], tmp_path: Path
) -> None:
    assert run(valkey, filled[0], tmp_path, "export", "-") == run(
        valkey, filled[0], tmp_path, "export"
    )
    assert list(tmp_path.iterdir()) == []


EVIL = "\x1b[2J\x1b]0;title\x07 \u202egnp.exe\x9b31m\r\x1b[1A"
MOVES = {"\x1b", "\x07", "\u202e", "\x9b"}


async def test_what_others_wrote_moves_no_cursor(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    """A reason, an author, and an id that an error repeats are free text."""
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await memory.commit([Add(text="One.")], author=f"eve{EVIL}", why=EVIL)
    told = run(valkey, namespace, tmp_path, "log")
    said = run(valkey, namespace, tmp_path, "explain", EVIL, fails=True)
    machine = run(valkey, namespace, tmp_path, "log", "--json")
    for text in (told, said, machine):
        assert not MOVES & set(text)
        assert "u202e" in text
    assert json.loads(machine)["log"][0]["why"] == EVIL, "as JSON it is what was written"


def unmended(*args: str, cwd: Path) -> str:
    """Return what a command would print if it printed what it is given."""
    code = (
        "from ted_memory.cli import main; from ted_memory.cli.output import terminal; "
        "terminal.spelled_out = str; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, cwd=cwd, check=True
    ).stdout


async def test_nor_does_what_stands_in_lessons_dead_letters_and_errors(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    """A lesson is shown as a model reads it; a reason, a name and a run's id are spelled out."""
    async with open_memory(valkey.url, namespace=namespace, feedback_wait=0.0) as memory:
        waits = Add(
            text=f"One{EVIL}.",
            when=f"asked{EVIL}",
            state="proposed",
            sources=(f"principal:eve{EVIL}",),
        )
        await memory.commit(
            [waits, Add(text=f"Two{EVIL}.", example=EVIL)],
            author=f"me{EVIL}\nversion 9",
            why=f"{EVIL}\nversion 99",
        )
        waiting, _ = (e.id for e in await memory.load())
        await memory.record(episode("apples", principal=f"eve{EVIL}", run_id="run"))
        await memory.flush()
        log = memory.store.episodes
        [claim] = (
            await log.claim(namespace, "x", lease=60, count=1, max_deliveries=1, alone=False)
        ).claims
        reason = f"no code{EVIL}\n99  run forged  2026-01-01 00:00:00Z  by whom"
        await log.return_claim(
            namespace, claim, counts=True, reason=reason, delay=0, max_deliveries=1
        )
    asked = (["show"], ["status"], ["dead", "list"], ["explain", waiting], ["log"], ["diff", "0"])
    for command in asked:
        told = run_cli(*command, "--url", valkey.url, "--namespace", namespace, cwd=tmp_path)
        machine = run_cli(
            *command, "--json", "--url", valkey.url, "--namespace", namespace, cwd=tmp_path
        )
        assert told.returncode == machine.returncode == 0, told.stderr + machine.stderr
        assert not MOVES & set(told.stdout + told.stderr + machine.stdout), command
        assert not any(line.startswith(("99", "version 9")) for line in told.stdout.splitlines()), (
            command
        )
        seen = {"dead": "u202egnp.exe", "explain": "u202egnp.exe"}.get(command[0], "gnp.exe")
        assert seen in told.stdout, f"{command} shows it"
        assert json.loads(machine.stdout), "as JSON it can be read"
    bare = unmended("dead", "list", "--url", valkey.url, "--namespace", namespace, cwd=tmp_path)
    assert set(bare) >= MOVES - {"\x07"}, "the control; the bell is what rich takes out, too"


def test_acl_prints_commands_that_a_server_takes(valkey: Server, tmp_path: Path) -> None:
    import redis

    lines = run_cli("acl", "--namespace", "support", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[2] for line in lines] == [
        f"ted-support-{role}" for role in ("agent", "recorder", "learner", "reviewer", "admin")
    ]
    with redis.Redis(port=valkey.port) as owner:
        for line in lines:
            assert owner.execute_command(line)
            owner.acl_deluser(line.split()[2])
    assert run_cli("acl", "--role", "root", cwd=tmp_path).returncode == 1


async def test_show_says_how_the_set_is_shown_to_agents(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await memory.commit([Add(text="One.")], author="me")
        assert (
            "shown: all lessons, with examples, at the end of the system message (by the settings)"
            in run(valkey, namespace, tmp_path, "show")
        )
        assert (
            json.loads(run(valkey, namespace, tmp_path, "show", "--json"))["presentation"] is None
        )
        best = Presentation(selection="relevant", top_k=2, placement="user", examples=False)
        await memory.commit([Add(text="Two.")], author="me", presentation=best)
    words = run(valkey, namespace, tmp_path, "show")
    assert "shown: at most 2 lessons that are relevant to the question, without examples" in words
    assert "(as the set carries it)" in words
    told = json.loads(run(valkey, namespace, tmp_path, "show", "--json"))
    assert told["presentation"] == told["shown"] == best.model_dump()

    options = ["show", "--url", valkey.url, "--namespace", namespace]
    stated = run_cli(*options, cwd=tmp_path, TED_MEMORY_PLACEMENT="system").stdout
    assert (
        "at the end of the system message (by the settings where they differ from the set's own)"
        in stated
    )
    told = json.loads(
        run_cli(*options, "--json", cwd=tmp_path, TED_MEMORY_PLACEMENT="system").stdout
    )
    assert (told["shown"]["placement"], told["presentation"]["placement"]) == ("system", "user")


async def test_what_a_lesson_adds_is_shown_where_it_was_measured(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        commit = await memory.commit([Add(text="One."), Add(text="Two.")], author="me")
        one, two = (applied.id for applied in commit.applied)
        counted = Usage(n_with=100, successes_with=90, n_without=100, successes_without=50)
        await memory.credit({one: counted}, token="t")
        lift = estimate(counted)
    told = json.loads(run(valkey, namespace, tmp_path, "show", "--json"))
    assert told["lifts"] == {one: {"mean": lift.mean, "low": lift.low, "high": lift.high}}
    lines = run(valkey, namespace, tmp_path, "show").splitlines()
    [shown_one] = [line for line in lines if one in line]
    assert f"lift {lift.mean:+.2f} ({lift.low:+.2f} to {lift.high:+.2f})" in shown_one
    assert not any("lift" in line for line in lines if two in line)
