"""A profile holds all that depends on how strong the models are; the core is the same for everyone.

Two are shipped: ``default`` for capable models and any kind of task, ``small`` for models of about
two billion parameters and less. Both can be changed in parts: see `Profile.adapted`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ted_memory.errors import SettingsError
from ted_memory.experience.betting import Rule
from ted_memory.llm.prompts import Prompt, load_prompt, parse_prompt
from ted_memory.settings import LONGEST_INSTRUCTIONS, DistillSettings

PLACEHOLDERS: Mapping[str, tuple[str, ...]] = {
    "teacher": (),
    "critic": ("task", "reference", "solution", "attempts", "experiences"),
    "revision": ("lesson", "outcome"),
    "batch": ("tasks",),
    "labels": ("labels",),
    "example": (),
    "compactor": ("experiences", "budget"),
}
"""The prompts of a profile, and what is filled into each of them.

``labels`` and ``example`` may be missing.
"""

TOLD = ("teacher", "critic", "compactor")  # the prompts that the owner's instructions are given to


@dataclass(frozen=True)
class Profile:
    """How a kind of models is taught.

    Attributes:
        name: what it is called in logs and reports.
        prompts: by the names of `PLACEHOLDERS`.
        attempts: how the critic sees them: ``whole``, or a ``digest`` (premises, steps,
            conclusion).
        attempt_tokens: what all whole attempts of one critique may take together, in tokens of 4
            bytes.
        conditions: ``as_written`` by the critic; or cut down to the ``key_words`` that tell the
            task apart.
        examples: what a lesson may carry as its one example: ``none``; what the critic has
            ``written``; or its ``own`` sample, which is tried where a student does not follow the
            rule alone: under the rule, and as an earlier turn of the conversation, with ``example``
            of the prompts as the rule. Never the own sample of traffic.
        merges: ``abstract``: a merged lesson may use new words, and is verified; ``verbatim``: it
            must keep its parents' words.
        verification: the test that an edit must pass on the student.
        loss: the test that a merge must pass, and by which an edit is found to harm other samples:
            ``worth`` is the loss that may get through with chance ``missed``.
        peers: other samples on which it is seen that an edit does no harm, at most.
        instructions: the owner's word on the domain.
    """

    name: str
    prompts: Mapping[str, Prompt]
    attempts: Literal["whole", "digest"] = "whole"
    attempt_tokens: int = 12_000
    conditions: Literal["as_written", "key_words"] = "as_written"
    examples: Literal["none", "written", "own"] = "written"
    merges: Literal["abstract", "verbatim"] = "abstract"
    verification: Rule = field(default_factory=Rule)
    loss: Rule = field(default_factory=lambda: Rule(level=0.05, worth=0.25, missed=0.1, pairs=60))
    peers: int = 3
    instructions: str = ""

    @property
    def fingerprint(self) -> str:
        """A short text that differs when anything of the profile does.

        It is part of a run's identity.
        """
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    def adapted(
        self,
        *,
        instructions: str = "",
        prompts: Mapping[str, str] | str | Path | None = None,
        verify_calls: int | None = None,
    ) -> "Profile":
        """Return a copy with these changes; what is not given stays as it is.

        Args:
            instructions: the owner's word on the domain, such as "our agents sell bicycles; never
                promise dates"; teacher, critic and compactor are told. They are added to what the
                prompts say already.
            prompts: texts by name, or a folder with files such as ``critic.md``; what is not there
                stays.
            verify_calls: student calls that verify one edit at most, two a pair; 0: edits are not
                verified.

        Raises:
            SettingsError: the instructions are too long, or a prompt is unknown or lacks a
                placeholder.
        """
        if len(instructions) > LONGEST_INSTRUCTIONS:
            raise SettingsError(
                f"the instructions have {len(instructions)} characters, "
                f"{LONGEST_INSTRUCTIONS} is the limit"
            )
        changed = {**self.prompts, **_read_prompts(prompts)}
        if instructions:
            changed |= {name: _instructed(changed[name], instructions) for name in TOLD}
        verification = self.verification
        if verify_calls is not None:
            verification = replace(verification, pairs=verify_calls // 2)
        told = instructions or self.instructions
        return replace(self, prompts=changed, instructions=told, verification=verification)


def _read_prompts(given: Mapping[str, str] | str | Path | None) -> dict[str, Prompt]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        for name in given:
            _check_name(name)
        return {
            name: parse_prompt(text, PLACEHOLDERS[name], name=repr(name))
            for name, text in given.items()
        }
    folder = Path(given)
    if not folder.is_dir():
        raise SettingsError(
            f"prompts: {folder} is no folder; give one with files such as critic.md"
        )
    files = sorted(folder.glob("*.md"))
    if not files:
        raise SettingsError(
            f"prompts: {folder} has no prompt file; name them {', '.join(PLACEHOLDERS)} (.md)"
        )
    for file in files:
        _check_name(file.stem)
    return {file.stem: load_prompt(file, PLACEHOLDERS[file.stem]) for file in files}


def _check_name(name: str) -> None:
    if name not in PLACEHOLDERS:
        raise SettingsError(
            f"there is no prompt {name!r}; the prompts are {', '.join(PLACEHOLDERS)}"
        )


def _instructed(prompt: Prompt, instructions: str) -> Prompt:
    """Return a prompt that ends its fixed part with the owner's instructions."""
    said = f"What the owner of this agent says about its work:\n{instructions.strip()}"
    if not prompt.fixed:  # a prompt of one part: the teacher's
        return replace(prompt, variable=f"{prompt.variable}\n\n{said}")
    return replace(prompt, fixed=f"{prompt.fixed}\n\n{said}")


def _shipped(name: str) -> dict[str, Prompt]:
    files = sorted((Path(__file__).parent / name).glob("*.md"))
    return {file.stem: load_prompt(file, PLACEHOLDERS[file.stem]) for file in files}


# Read at import: no file is touched once an event loop runs.
DEFAULT = Profile("default", _shipped("default"))
SMALL = Profile(
    "small",
    _shipped("small"),
    attempts="digest",
    conditions="key_words",
    examples="own",
    merges="verbatim",
    # small models gain much from a lesson or nothing: a looser and shorter test
    verification=Rule(level=0.1, worth=0.5, missed=0.1, pairs=10, bets=(0.6, 0.95)),
    loss=Rule(level=0.1, worth=0.4, missed=0.1, pairs=16, bets=(0.6, 0.95)),
    peers=1,
)
PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (DEFAULT, SMALL)}


def profile_of(
    settings: DistillSettings,
    *,
    instructions: str | None = None,
    prompts: Mapping[str, str] | str | Path | None = None,
) -> Profile:
    """Return the profile that the settings name, with their instructions, prompts and calls.

    Args:
        settings: the memory's.
        instructions: in place of theirs.
        prompts: in place of theirs.

    Raises:
        SettingsError: there is no such profile, or a prompt of the user's cannot be used.
    """
    return PROFILES[settings.profile].adapted(
        instructions=settings.instructions if instructions is None else instructions,
        prompts=settings.prompts if prompts is None else prompts,
        verify_calls=settings.verify_calls,
    )
