"""Every tunable, its default and its unit, once. The only reader of the environment."""

import difflib
import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypedDict

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ted_memory.errors import SettingsError

__all__ = [
    "SettingNames",
    "Settings",
]

Selection = Literal["all", "budget", "relevant"]
Placement = Literal["system", "user"]
Durability = Literal["none", "replica", "fsync"]
Compaction = Literal["utility", "count", "age", "none"]
Retrieval = Literal["words", "local"]
Trust = Literal["always", "evidence", "review"]
TrialRule = Literal["strict", "quick"]

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "small": {
        # small models follow the first lesson that they see, best in the user turn
        "selection": "relevant",
        "top_k": 1,
        "placement": "user",
        # of the attempts: at more the student forgets the lesson that it has just read
        "temperature": 0.4,
        "max_text": 400,
        "compact_every": 12,
    },
}
"""What a profile (`ted_memory.distill.profiles`) changes of the defaults; what is stated wins."""

LONGEST_INSTRUCTIONS = 4000  # characters

RENAMED: Mapping[str, str] = {
    "buffer": "buffer_episodes",
    "history": "history_versions",
    "inclusion": "shown_share",
    "lease": "lease_seconds",
    "usage_kept": "usage_decay",
}
"""Settings of older versions, and what they are called now."""


class _Concern(BaseModel):
    # built when the whole is: building each of them is a part of the import that nobody needs
    model_config = ConfigDict(defer_build=True)


class StoreSettings(_Concern):
    """Where the memory lives, and how long its callers wait for it."""

    url: str | None = Field(
        None,
        repr=False,
        description="where the memory lives; none: an embedded server under `home`",
    )
    home: str = Field(".ted-memory", description="folder of the embedded server")
    namespace: str = Field("default", description="which experience set")
    durability: Durability = Field(
        "none", description="what a commit waits for: a replica, or the disk"
    )
    read_timeout: float = Field(
        0.05, gt=0, description="seconds that an agent waits for the store at most"
    )
    refresh: float = Field(
        1.0, ge=0, description="seconds after which a snapshot is looked at again"
    )
    push: bool = Field(
        True, description="whether the store is asked to tell of commits as they are made"
    )


class SetSettings(_Concern):
    """How large one experience set may grow."""

    max_experiences: int = Field(50, ge=1, description="active experiences at most")
    token_budget: int = Field(2000, ge=1, description="tokens of the rendered block at most")
    max_text: int = Field(800, ge=1, description="characters of one lesson at most")
    history_versions: int = Field(1000, ge=1, description="versions kept in the log")


class PromptSettings(_Concern):
    """Which lessons a prompt shows, and where."""

    selection: Selection = Field("all", description="which active experiences are rendered")
    top_k: int = Field(3, ge=1, description="how many, for selection `relevant`")
    retrieval: Retrieval = Field(
        "words", description="how lessons are found: words, or these with local embeddings"
    )
    language: str = Field(
        "auto", description="of lessons and questions, as an ISO code; auto: each text's own"
    )
    placement: Placement = Field("system", description="where the block stands")
    examples: bool = Field(
        True, description="whether lessons are shown with examples, and hold words of samples"
    )


class DistillSettings(_Concern):
    """How lessons are made, from samples and from traffic."""

    profile: str = Field(
        "default", description="which models it is for: `default` (capable ones) or `small`"
    )
    instructions: str = Field(
        "", description="the owner's word on the domain, for teacher, critic and compactor"
    )
    prompts: str | None = Field(
        None, description="folder of prompt files that replace the profile's"
    )
    rollouts: int = Field(5, ge=1, description="trajectories per sample")
    shown_share: float = Field(
        0.8, gt=0, le=1, description="share of the set that each trajectory may see"
    )
    temperature: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="of the student's attempts while learning; none: the model's own",
    )
    concurrency: int = Field(8, ge=1, description="model calls in flight")
    critique_batch: int = Field(
        1,
        ge=1,
        le=10,
        description="failed samples that a critic sees at once, "
        "the latest one and earlier ones like it",
    )
    verify_calls: int | None = Field(
        None,
        ge=0,
        description="student calls that verify one edit at most; "
        "none: as the profile says, 0: no check",
    )
    max_revisions: int = Field(2, ge=0, description="times the critic is asked again at most")
    compact_every: int = Field(
        20, ge=1, description="commits between compactions when no cap presses"
    )
    compaction: Compaction = Field(
        "utility", description="what goes first when a cap presses; none: nothing does"
    )
    validation: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="held-out share of a large data set, judged beside the samples; 0: no gate",
    )
    checkpoints: int = Field(
        1, ge=1, description="stages of a run that the gate chooses the best one of"
    )
    measure_presentation: bool = Field(
        True,
        description="a run compares ways to show its lessons to the student; "
        "the set carries the best one",
    )

    @field_validator("temperature", mode="before")
    @classmethod
    def _read_none(cls, value: Any) -> Any:
        """Take the word "none" for None.

        The environment has only words, and an argument that is None counts as not given.
        """
        return None if isinstance(value, str) and value.strip().lower() == "none" else value


class TrialSettings(_Concern):
    """What a lesson from traffic must show before all agents see it."""

    trust: Trust = Field("evidence", description="how a lesson from traffic may become active")
    trial_rule: TrialRule = Field(
        "strict",
        description="what a trial must show: a lift above 0, or with `quick` one above -0.1",
    )
    min_principals: int = Field(
        3,
        ge=1,
        description="every decision leaves out the loudest principals, one fewer than this",
    )
    withhold_share: float = Field(
        0.02, ge=0, le=0.5, description="share of requests that miss one active lesson"
    )
    replay_calls: int = Field(
        2000, ge=0, description="student calls a day that replays may take; 0: no replays"
    )
    max_proposed: int = Field(200, ge=1, description="lessons that wait for evidence")
    max_archived: int = Field(2000, ge=1, description="graded episodes that are kept for replays")
    max_archive_bytes: int = Field(
        8_388_608, ge=1024, description="bytes of these episodes; the oldest go"
    )


class RecordingSettings(_Concern):
    """What is recorded of an agent's runs, how long it is kept, and what it counts for."""

    sample_rate: float = Field(
        1.0, ge=0, le=1, description="share of an agent's runs that is recorded"
    )
    feedback_wait: float = Field(
        0.0, ge=0, description="seconds that an episode waits for feedback"
    )
    episode_size: int = Field(
        65_536, ge=1024, description="bytes of one episode at most; longer texts are cut"
    )
    image_size: int = Field(
        4_194_304, ge=0, description="bytes of one recorded image at most; larger ones are left out"
    )
    buffer_episodes: int = Field(
        1000, ge=1, description="episodes that wait in a process to be sent; more are dropped"
    )
    buffer_bytes: int = Field(
        67_108_864, ge=1024, description="bytes of these episodes, about; more are dropped"
    )
    max_episodes: int = Field(
        20_000, ge=1, description="episodes that wait to be learned from; more are dropped"
    )
    max_episode_bytes: int = Field(
        67_108_864, ge=1024, description="bytes of these episodes; more are dropped"
    )
    run_days: float = Field(30.0, gt=0, description="days for which feedback on a run may come")
    episode_days: int = Field(
        30, ge=1, le=365, description="days for which an episode waits to be learned from"
    )
    archive_days: int = Field(
        90, ge=1, le=365, description="days for which a graded episode is kept for replays"
    )
    max_dead: int = Field(1000, ge=1, description="dead letters that are kept; the oldest go")
    dead_days: float = Field(30.0, gt=0, description="days for which a dead letter is kept")
    rate_limit: int = Field(
        1000, ge=1, description="episodes and outcomes of one principal that count, a day"
    )
    usage_decay: float = Field(
        1.0, gt=0, le=1, description="share of older usage that is left after each new outcome"
    )


class LearnerSettings(_Concern):
    """How the learners share their work."""

    lease_seconds: float = Field(
        60.0, gt=0, description="seconds after which a silent learner's episode is another's"
    )
    max_deliveries: int = Field(
        3, ge=1, description="times that an episode is begun before it is a dead letter"
    )
    episodes_at_once: int = Field(
        4, ge=1, description="episodes that one learner works on at a time"
    )


class Settings(
    StoreSettings,
    SetSettings,
    PromptSettings,
    DistillSettings,
    TrialSettings,
    RecordingSettings,
    LearnerSettings,
    BaseSettings,
):
    """Tunables of one memory.

    Arguments win over ``TED_MEMORY_*`` variables, which win over the profile's defaults, which win
    over those that stand in the classes above. A function that needs one concern only takes the
    class of that concern.
    """

    model_config = SettingsConfigDict(
        env_prefix="TED_MEMORY_", frozen=True, extra="forbid", defer_build=True
    )


class Content(NamedTuple):
    """Whether traces may hold what people and lessons say."""

    spans: bool
    events: bool


def shows_content() -> Content:
    """Read what OpenTelemetry's conventions for generative AI call the capture of content."""
    asked = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").upper()
    both = asked in {"TRUE", "SPAN_AND_EVENT"}
    return Content(spans=both or asked == "SPAN_ONLY", events=both or asked == "EVENT_ONLY")


class SettingNames(TypedDict, total=False):
    """The settings that `open_memory` takes by name, for type checkers; None counts as not given.

    What each of them says and what it may be stands in `Settings`, which checks it.
    """

    durability: Durability | None
    read_timeout: float | None
    refresh: float | None
    push: bool | None
    max_experiences: int | None
    token_budget: int | None
    max_text: int | None
    history_versions: int | None
    selection: Selection | None
    top_k: int | None
    retrieval: Retrieval | None
    language: str | None
    placement: Placement | None
    examples: bool | None
    profile: str | None
    instructions: str | None
    prompts: str | None
    rollouts: int | None
    shown_share: float | None
    temperature: float | None
    concurrency: int | None
    critique_batch: int | None
    verify_calls: int | None
    max_revisions: int | None
    compact_every: int | None
    compaction: Compaction | None
    validation: float | None
    checkpoints: int | None
    measure_presentation: bool | None
    trust: Trust | None
    trial_rule: TrialRule | None
    min_principals: int | None
    withhold_share: float | None
    replay_calls: int | None
    max_proposed: int | None
    max_archived: int | None
    max_archive_bytes: int | None
    sample_rate: float | None
    feedback_wait: float | None
    episode_size: int | None
    image_size: int | None
    buffer_episodes: int | None
    buffer_bytes: int | None
    max_episodes: int | None
    max_episode_bytes: int | None
    run_days: float | None
    episode_days: int | None
    archive_days: int | None
    max_dead: int | None
    dead_days: float | None
    rate_limit: int | None
    usage_decay: float | None
    lease_seconds: float | None
    max_deliveries: int | None
    episodes_at_once: int | None


def make_settings(**overrides: Any) -> Settings:
    """Read the settings, from arguments and the environment; None counts as not given.

    Raises:
        SettingsError: a name is unknown or a value cannot work; the message names the setting.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    for name in given:
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, n=1)
            meant = [RENAMED[name]] if name in RENAMED else near
            hint = f"; did you mean {meant[0]!r}?" if meant else ""
            raise SettingsError(f"unknown setting {name!r}{hint}")
    _refuse_old_variables()
    try:
        return _with_profile(Settings(**given))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"setting {name}={first['input']!r}: {first['msg']} "
            f"(argument or TED_MEMORY_{name.upper()})"
        ) from None


def _refuse_old_variables() -> None:
    """Refuse a variable by its old name, which would be passed over in silence.

    Where the new one stands beside it, an older version may share the environment.

    Raises:
        SettingsError: there is one; the message says what it is called now.
    """
    for old, new in RENAMED.items():
        before, now = f"TED_MEMORY_{old.upper()}", f"TED_MEMORY_{new.upper()}"
        if before in os.environ and now not in os.environ:
            raise SettingsError(f"{before} is called {now} now; nothing was opened")


def _with_profile(stated: Settings) -> Settings:
    """Put the profile's defaults where nothing was stated.

    ``model_fields_set`` goes on naming what was stated only: what a profile says counts as a
    default.

    Raises:
        SettingsError: there is no such profile, or the instructions are too long.
    """
    if stated.profile not in PROFILES:
        raise SettingsError(
            f"there is no profile {stated.profile!r}; use one of {', '.join(PROFILES)} "
            "(argument or TED_MEMORY_PROFILE), or hand your own Profile to distill() or Learner()"
        )
    if len(stated.instructions) > LONGEST_INSTRUCTIONS:
        raise SettingsError(
            f"the instructions have {len(stated.instructions)} characters, "
            f"{LONGEST_INSTRUCTIONS} is the limit; shorten them: each critique pays for them"
        )
    defaults = PROFILES[stated.profile]
    values = dict(stated)
    for name, value in defaults.items():
        if name not in stated.model_fields_set:
            values[name] = value
    return Settings.model_construct(_fields_set=set(stated.model_fields_set), **values)
