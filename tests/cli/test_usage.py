"""What a newcomer gets wrong: a line or two that say what happened and what to do, and a code."""

import re
from pathlib import Path

import pytest

from ted_memory.cli.output import time_left
from tests.command_line import run_cli

PLAN = ["plan", "--graded", ".2", "--applies", ".5", "--lift", ".1", "--requests-a-day"]
TEACHER = ["--teacher", "openai:x", "--student", "openai:x"]
WRITTEN_WRONGLY = [
    (["foo"], "no such command 'foo'"),
    (["statsu"], "Did you mean 'status'?"),
    (["show", "--namspace", "x"], "--namespace"),
    (["show", "extra"], "extra"),
    (["approve"], "missing argument 'ID'"),
    (["reject", "x", "--why"], "--why"),
    (["add"], "missing option '--text'"),
    (["rollback"], "missing argument"),
    (["rollback", "abc"], "integer"),
    (["diff"], "missing argument"),
    (["log", "--limit", "0"], "'--limit'"),
    (["log", "--limit", "x"], "'--limit'"),
    (["import", "nosuch.jsonl"], "'nosuch.jsonl' does not exist"),
    (["explain"], "missing argument 'ID'"),
    (["feedback", "r", "--score", "good"], "'--score'"),
    (["dead", "list", "--limit", "-1"], "'--limit'"),
    (["dead", "retry", "x"], "integer"),
    (["dead", "nosuch"], "no such command 'nosuch'"),
    (["purge"], "missing option '--source'"),
    (["forget", "--user", "y"], "--user"),
    (["drop"], "missing argument"),
    (["plan"], "missing option '--requests-a-day'"),
    (["distill"], "missing option '--student'"),
    (["learn"], "missing option '--teacher'"),
    (["eval"], "missing argument 'FILE'"),
    (["status", "--watch", "--interval", "0"], "'--interval'"),
]
REFUSED = [
    (["approve", "nosuch"], "nothing was changed: nosuch: there is no such id"),
    (["edit", "nosuch", "--text", "x"], "nothing was changed: nosuch"),
    (["add", "--text", ""], "nothing was changed: the lesson is empty"),
    (["add", "--text", "x", "-n", "a b"], "namespace 'a b' is not allowed"),
    (["rollback", "99"], "the set is unchanged"),
    (["diff", "5", "9"], "version 5 is not in the history"),
    (["export", "nosuch/x.jsonl"], "nothing was exported"),
    (["export", "--json"], "--json is for a FILE"),
    (["explain", "nosuch"], "`ted-memory show` lists them"),
    (["feedback", "r", "--score", "7"], "nothing was counted"),
    (["feedback", "r"], "give --score, --comment or --correction"),
    (["dead", "retry"], "give numbers of dead letters, or --all"),
    (["forget"], "one of --principal, --run, --thread"),
    (["status", "--url", "http://foo"], "write redis://host:6379/0"),
    (["status", "--url", "redis://localhost:1/0"], "Is the server running and the URL right?"),
    (["status", "--metrics", "--watch"], "leave --json, --watch"),
    (["status", "--prices", "1,2"], "four numbers"),
    ([*PLAN, "-1"], "more than 0 are needed"),
    ([*PLAN, "100", "--rule", "soft"], "use strict or quick"),
    (["acl", "--role", "king"], "use one of agent"),
    (["distill", "nosuch.jsonl", *TEACHER], "cannot be read"),
    (["learn", *TEACHER, "--attempts", "many"], "use model or none"),
    (["eval", "nosuch.jsonl", "--student", "openai:x"], "cannot be read"),
    (["learn", *TEACHER], "OPENAI_API_KEY"),
    (["show", "--home", "/proc/nosuch"], "set TED_MEMORY_HOME to a local folder"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, so that one server is started."""
    return tmp_path_factory.mktemp("place")


@pytest.mark.parametrize(("command", "told"), WRITTEN_WRONGLY, ids=str)
def test_a_command_that_is_written_wrongly_is_two_lines_and_does_nothing(
    place: Path, command: list[str], told: str
) -> None:
    done = run_cli(*command, cwd=place)
    first, second = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"ted-memory[ a-z]*: [a-z]", first)
    assert told in first
    assert re.fullmatch(r"nothing was done; `ted-memory[ a-z]* --help` tells what it takes", second)


@pytest.mark.parametrize(("command", "told"), REFUSED, ids=str)
def test_what_cannot_be_done_is_one_line_that_says_what_to_do(
    place: Path, command: list[str], told: str
) -> None:
    done = run_cli(*command, cwd=place, OPENAI_API_KEY="")
    [line] = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert line.startswith("ted-memory: ")
    assert told in line


def test_a_group_without_a_word_tells_its_words(place: Path) -> None:
    done = run_cli("dead", cwd=place)
    assert done.returncode == 2
    assert "Usage: ted-memory dead" in done.stderr
    assert "retry" in done.stderr


def test_help_tells_the_exit_codes(place: Path) -> None:
    told = " ".join(run_cli("--help", cwd=place).stdout.split())
    assert "Exit codes: 0 done; 1 " in told
    assert told.index("Exit codes") < told.index("Examples:")


ANSI = re.compile(r"\x1b\[[0-9;]*m")
RED = re.compile(r"\x1b\[(?:\d+;)*31m")


def test_colours_are_states_and_red_is_what_is_to_be_done(place: Path) -> None:
    colours = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    run_cli("add", "--text", "Be brief.", cwd=place)
    plain = run_cli("show", cwd=place)
    assert not ANSI.search(plain.stdout), "no terminal, no colours"
    coloured = run_cli("show", cwd=place, **colours)
    assert ANSI.sub("", coloured.stdout) == plain.stdout
    assert "\x1b[32mactive" in coloured.stdout
    assert not RED.search(coloured.stdout), "nothing is to be done"
    without = run_cli("show", cwd=place, **colours, NO_COLOR="1")
    assert not re.search(r"\x1b\[(?:\d+;)*3\d", without.stdout)
    refused = run_cli("approve", "nosuch", cwd=place, **colours)
    assert RED.search(refused.stderr)
    as_json = run_cli("show", "--json", cwd=place, **colours)
    assert not ANSI.search(as_json.stdout)


COMPLETE = "_TED_MEMORY_COMPLETE"


def completed(place: Path, words: str, **env: str) -> list[str]:
    """Return what bash is offered for the last word."""
    asked = {COMPLETE: "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return run_cli(cwd=place, **asked, **env).stdout.split()


def test_a_shell_completes_commands_options_namespaces_and_lessons(place: Path) -> None:
    run_cli("add", "--text", "Be kind.", "-n", "support", cwd=place)
    [id] = re.findall(r"^(\w+)  active", run_cli("show", "-n", "support", cwd=place).stdout, re.M)
    assert completed(place, "ted-memory app") == ["approve"]
    assert "--namespace" in completed(place, "ted-memory show --na")
    assert completed(place, "ted-memory show --namespace sup") == ["support"]
    assert completed(place, "ted-memory drop sup") == ["support"]
    for command in ("approve", "reject", "explain", "edit"):
        assert completed(place, f"ted-memory {command} --namespace support ") == [id]
    # typer looks for a shell among the parents of the process, and a test may have none
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = run_cli("--show-completion", "bash", cwd=place, **named).stdout
    assert COMPLETE in script


def test_completing_makes_no_folder_and_tells_no_error(tmp_path: Path) -> None:
    assert completed(tmp_path, "ted-memory approve ") == []
    assert list(tmp_path.iterdir()) == []
    done = run_cli(
        cwd=tmp_path,
        **{COMPLETE: "complete_bash", "COMP_CWORD": "2"},
        COMP_WORDS="ted-memory approve ",
        TED_MEMORY_URL="redis://localhost:1/0",
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("done", "left", "seconds", "told"),
    [
        (10, 20, 60.0, "about 2 min left"),
        (1, 3, 5.0, "about 15 s left"),
        (0, 3, 5.0, ""),
        (3, 0, 5.0, ""),
        (1, 100, 3600.0, "about 4 d left"),
    ],
)
def test_time_left_is_told_from_the_pace_so_far(
    done: int, left: int, seconds: float, told: str
) -> None:
    assert time_left(done, left, seconds) == told
