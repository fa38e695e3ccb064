"""Options that several commands share."""

from typing import Annotated, Any

import typer

from ted_memory.memory import TedMemory
from ted_memory.settings import Settings, make_settings
from ted_memory.wiring import open_memory

Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Experience set.  [default: TED_MEMORY_NAMESPACE or 'default']")
]
Url = Annotated[
    str | None, typer.Option("--url", help="Redis or Valkey server.  [default: TED_MEMORY_URL, else embedded]")
]
Home = Annotated[str | None, typer.Option("--home", help="Folder of the embedded server.  [default: ./.ted-memory]")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Selection = Annotated[
    str | None, typer.Option("--selection", help="Which experiences are shown: all, budget, relevant.")
]
TopK = Annotated[int | None, typer.Option("--top-k", help="How many, for --selection relevant.")]
Placement = Annotated[
    str | None, typer.Option("--placement", help="Where they stand: system (message) or user (turn).")
]
Grader = Annotated[
    str, typer.Option("--grader", help="How answers are scored: auto, exact, contains, numeric, multiple_choice.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Use only the first so many samples.")]
Concurrency = Annotated[int | None, typer.Option("--concurrency", help="Model calls in flight.  [default: 8]")]
Student = Annotated[str, typer.Option("--student", help="provider:model, or a model's name with --student-base-url.")]
StudentUrl = Annotated[str | None, typer.Option("--student-base-url", help="OpenAI-compatible server of the student.")]
StudentTokens = Annotated[
    int | None, typer.Option("--student-max-tokens", min=1, help="Longest answer of the student.")
]
StudentTemperature = Annotated[
    float | None, typer.Option("--student-temperature", min=0, help="Where it is measured; rollouts have their own.")
]

Teacher = Annotated[str, typer.Option("--teacher", help="provider:model, or a model's name with --teacher-base-url.")]
TeacherUrl = Annotated[str | None, typer.Option("--teacher-base-url", help="OpenAI-compatible server of the teacher.")]
Rollouts = Annotated[int | None, typer.Option("--rollouts", help="Attempts a sample.  [default: 5]")]
MaxTries = Annotated[
    int | None, typer.Option("--max-tries", help="Times the critic is asked again at most; 0: edits are not tried.")
]
Validation = Annotated[float | None, typer.Option("--validation", help="Held-out share; 0: no gate.  [default: 0.2]")]
CompactEvery = Annotated[
    int | None, typer.Option("--compact-every", help="Commits between compactions.  [default: 20]")
]


def settings_of(namespace: str | None) -> Settings:
    """Return the settings that a command runs under, where it needs no memory."""
    return make_settings(namespace=namespace)


def memory_of(url: str | None, namespace: str | None, home: str | None, **settings: Any) -> TedMemory:
    """Return the memory that a command's options name."""
    return open_memory(url, namespace=namespace, home=home, **settings)
