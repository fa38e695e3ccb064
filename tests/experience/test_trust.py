"""How a lesson from traffic becomes active: who is shown it, what each outcome leads to, and what never happens."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.episodes import ANONYMOUS, Exposure
from ted_memory.experience.rendering import lesson_tokens, render_block
from ted_memory.experience.trust import (
    MAX_ROUNDS,
    Selector,
    Step,
    adds_support,
    draw,
    excess_first,
    expose,
    is_from,
    next_steps,
    waits_for,
)
from ted_memory.experience.utility import observed
from ted_memory.models import Caps, Experience, ExperienceSet, State, Trial, Usage
from ted_memory.retrieval.selection import make_selector
from ted_memory.settings import make_settings
from tests.experience.asking import applying, ranked

UNITS = 20_000
BOTH = ("principal:anna", "principal:bert")
ALL = make_selector("all", top_k=3, token_budget=2000)
SELECTORS = [ALL, *(make_selector(s, top_k=2, token_budget=90) for s in ("budget", "relevant"))]
WORDS = ["tea", "coffee", "rain", "tea or rain"]


def lesson(
    id: str, state: State = "active", trial: Trial | None = None, *, when: str = "", by: Any = BOTH
) -> Experience:
    text = f"Do {id}."
    order = int("".join(c for c in id if c.isdigit()) or 0)
    fields = {"id": id, "text": text, "when": when, "state": state, "trial": trial, "sources": by, "order": order}
    return Experience(**fields, rev=7, tokens=lesson_tokens(text, when))


def on_trial(id: str, exposure: float, **more: Any) -> Experience:
    return lesson(id, "trial", Trial(exposure=exposure), **more)


def a_set(*lessons: Experience) -> ExperienceSet:
    return ExperienceSet("n", "epoch", 5, Caps(max_experiences=50, token_budget=2000), lessons)


def shown(
    *lessons: Experience,
    unit: str = "u",
    by: str = "carl",
    withhold: float = 0,
    choose: Selector = ALL,
    asked: str = "",
) -> Exposure:
    held = a_set(*lessons)
    return expose(held, choose, ranked(held.candidates, asked), unit=unit, principal=by, withhold_share=withhold)


def near(share: float, expected: float, count: int = UNITS) -> bool:
    """Tell whether a share is within four standard errors."""
    return abs(share - expected) <= 4 * (expected * (1 - expected) / count) ** 0.5


# --- draws


def test_a_draw_is_always_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Highest:
        def digest(self) -> bytes:
            return b"\xff" * 32

    monkeypatch.setattr(hashlib, "sha256", lambda _: Highest())
    assert 0.999 < draw("u") < 1, "else the last of n would be n + 1st"
    assert shown(lesson("l1"), withhold=0.5).seen == ("l1",)


@given(st.text(), st.text())
def test_the_same_parts_give_the_same_draw(unit: str, id: str) -> None:
    assert draw(unit, id) == draw(unit, id)
    assert 0 <= draw(unit, id) < 1


# --- who is shown what


@given(st.text(), st.sampled_from(SELECTORS), st.sampled_from(WORDS))
def test_a_conversation_is_always_shown_the_same(unit: str, choose: Selector, asked: str) -> None:
    lessons = [lesson("l1"), lesson("l2", when="tea"), on_trial("l3", 0.5), on_trial("l4", 0.5, when="rain")]
    one, two = (shown(*lessons, unit=unit, withhold=0.5, choose=choose, asked=asked) for _ in range(2))
    assert one == two


def test_conversations_are_not_all_shown_the_same() -> None:
    blocks = {shown(lesson("l1"), on_trial("l2", 0.5), unit=str(i), withhold=0.5).block for i in range(50)}
    assert len(blocks) == 4


def test_a_lesson_is_not_tried_on_those_whom_it_came_from() -> None:
    def seen_by(name: str) -> int:
        answers = [shown(on_trial("l1", 0.5), unit=str(i), by=name) for i in range(200)]
        assert all(bool(one.seen) + bool(one.withheld) <= 1 for one in answers)
        return sum(bool(one.seen or one.withheld) for one in answers)

    assert (seen_by("anna"), seen_by("bert"), seen_by("carl")) == (0, 0, 200)
    assert shown(lesson("l1"), by="anna").seen == ("l1",), "an active one is for everybody"


def test_nobody_is_known_to_be_anonymous() -> None:
    told = lesson("l1", by=(f"principal:{ANONYMOUS}", "run:r1", *BOTH))
    assert is_from(told, "anna")
    assert not is_from(told, "carl")
    assert not is_from(told, ANONYMOUS), "who that is nobody knows"
    assert is_from(told, ANONYMOUS, "r1")
    assert is_from(told, "carl", "r1")


mixed = st.lists(
    st.builds(
        lambda state, exposure, when: (state, Trial(exposure=exposure) if state == "trial" else None, when),
        st.sampled_from(["active", "active", "trial", "proposed"]),
        st.sampled_from([0.0, 0.05, 0.5]),
        st.sampled_from(["", *WORDS]),
    ),
    max_size=7,
).map(lambda drawn: [lesson(f"l{i}", state, trial, when=when) for i, (state, trial, when) in enumerate(drawn)])


@given(mixed, st.text(max_size=5), st.sampled_from(WORDS), st.sampled_from([0.0, 0.5]))
def test_what_is_seen_and_what_is_withheld_are_all_that_would_have_stood_there(
    lessons: list[Experience], unit: str, asked: str, withhold: float
) -> None:
    one = shown(*lessons, unit=unit, asked=asked, withhold=withhold)
    applies = applying(lessons, asked)
    tried = {e.id for e in lessons if e.trial and e.trial.exposure and e.id in applies}
    active = {e.id for e in lessons if e.state == "active"}
    assert len(one.seen) + len(one.withheld) == len({*one.seen, *one.withheld})
    assert {*one.seen, *one.withheld} == active | tried
    assert {*one.counted, *one.withheld} <= applies, "who does not apply is not compared"
    assert len(active & {*one.withheld}) <= 1
    assert one.block == render_block([e for id in one.seen for e in lessons if e.id == id])
    states = [e.state for id in one.seen for e in lessons if e.id == id]
    assert states == sorted(states), "active ones first: what is on trial stands last, and none is proposed"
    assert (one.epoch, one.version) == ("epoch", 5)


@given(mixed, st.text(max_size=5), st.sampled_from(WORDS), st.sampled_from(SELECTORS))
def test_nothing_counts_that_would_not_have_been_chosen(
    lessons: list[Experience], unit: str, asked: str, choose: Selector
) -> None:
    one = shown(*lessons, unit=unit, asked=asked, withhold=0.5, choose=choose)
    applies = applying(lessons, asked)
    tried = [e for e in lessons if e.trial and e.trial.exposure and e.id in applies]
    shown_ones = a_set(*lessons).candidates
    eligible = {
        e.id for e in choose([*(e for e in lessons if e.state == "active"), *tried], {}, ranked(shown_ones, asked))
    }
    assert {*one.counted, *one.withheld} <= eligible & applies
    assert {*one.counted} <= {*one.seen}
    assert {*one.seen}.isdisjoint(one.withheld)
    assert all(e.state == "active" for e in lessons if e.id in {*one.seen} - eligible)


@given(mixed, st.sampled_from(WORDS), st.sampled_from(SELECTORS))
def test_without_trials_the_block_is_what_render_gives(lessons: list[Experience], asked: str, choose: Selector) -> None:
    lessons = [e for e in lessons if e.state != "trial"]
    active = [e for e in lessons if e.state == "active"]
    assert shown(*lessons, choose=choose, asked=asked).block == render_block(choose(active, {}, ranked(active, asked)))


@pytest.mark.parametrize("choose", SELECTORS[::2])
def test_lessons_on_trial_stand_last(choose: Selector) -> None:
    lessons = [on_trial("l1", 1.0, when="tea tea tea"), lesson("l2", when="tea with rain")]
    assert shown(*lessons, choose=choose, asked="tea").seen == ("l2", "l1")
    # the control: by their order, or by how well they fit, it would stand first
    assert [e.id for e in choose(lessons, {}, ranked(lessons, "tea"))] == ["l1", "l2"]


# --- what is due


def arms(n_with: int, n_without: int, lift: float = 0.0) -> Usage:
    return Usage(
        n_with=n_with, successes_with=n_with * (0.5 + lift), n_without=n_without, successes_without=n_without / 2
    )


def groups(weight: float, lift: float = 0.0) -> Usage:
    return Usage(weight=weight, weighted_difference=weight * lift)


def added(one: Usage, two: Usage) -> Usage:
    return Usage(**{name: getattr(one, name) + getattr(two, name) for name in Usage.model_fields})


def due(
    *lessons: Experience, shadow: bool = False, known: dict[str, Usage] | None = None, **tunables: Any
) -> list[Step]:
    return next_steps(a_set(*lessons), known or {}, make_settings(**tunables), shadow=shadow)


def step_of(one: Experience, usage: Usage, **more: Any) -> Step | None:
    """Return what is due for a lesson that is alone; its edit holds for this revision of it only."""
    steps = due(one, known={one.id: usage}, **more)
    assert [(step.edit.id, step.edit.rev) for step in steps] == [(one.id, 7)] * len(steps)
    return steps[0] if steps else None


def state_after(one: Experience, usage: Usage, **more: Any) -> str:
    step = step_of(one, usage, **more)
    return step.edit.state if step else "as it was"


def waits(one: Experience, usage: Usage | None = None) -> str:
    return waits_for(one, usage or Usage(), make_settings())


def proposed(id: str, *names: str, rounds: int = 0) -> Experience:
    trial = Trial(rounds=rounds) if rounds else None
    return lesson(id, "proposed", trial, by=tuple(f"principal:{name}" for name in names))


TWO_ARMS = arms(200, 200, 0.2)


@pytest.mark.parametrize(
    ("by", "waiting"),
    [
        ((), "a person's approval"),
        (("author:me", "run:r1"), "a person's approval"),
        (("principal:anna", "run:r1", "run:r2"), "principals: 1 of 2"),
        (("principal:anna", "principal:anna"), "principals: 1 of 2"),
    ],
)
def test_with_too_few_principals_a_lesson_stays_proposed(by: tuple[str, ...], waiting: str) -> None:
    few = lesson("l1", "proposed", by=by)
    assert due(few, known={"l1": TWO_ARMS}) == []
    assert waits(few) == waiting
    assert waits(proposed("l1", "anna", "bert")) == "a free place on trial"


def test_only_somebody_new_adds_support_to_a_lesson_that_waits() -> None:
    waiting = proposed("l1", "anna")
    assert adds_support(waiting, ("principal:bert", "run:r2"))
    assert not adds_support(waiting, ("principal:anna", "run:r2"))
    assert not adds_support(lesson("l1"), ("principal:carl",))
    assert not adds_support(None, ("principal:carl",))


@pytest.mark.parametrize(("shadow", "exposure"), [(True, 0.0), (False, 0.05)])
def test_with_enough_principals_a_trial_begins_without_any_outcome(shadow: bool, exposure: float) -> None:
    old = added(arms(30, 3, 0.5), Usage(weight=9, weighted_difference=4, helped=2))
    step = step_of(proposed("l1", "anna", "bert", rounds=1), old, shadow=shadow)
    assert step is not None
    assert (step.edit.state, step.edit.trial) == ("trial", Trial(exposure=exposure, rounds=1))
    assert added(old, step.usage) == Usage(helped=2), "citations are no outcomes"


def test_no_more_lessons_are_on_trial_than_may_be_and_the_most_supported_come_first() -> None:
    ready = [proposed("l1", "a", "b"), proposed("l3", "a", "b", "c"), proposed("l2", "b", "c")]
    assert [step.edit.id for step in due(*ready, max_trial=2)] == ["l3", "l1"]
    assert [step.edit.id for step in due(on_trial("l9", 0.05), *ready, max_trial=2)] == ["l3"]
    assert due(on_trial("l9", 0.05), on_trial("l8", 0.0), *ready, max_trial=2, shadow=True) == []
    ends = due(on_trial("l9", 0.5), *ready, max_trial=1, known={"l9": arms(200, 200, -0.3)})
    assert [(s.edit.id, s.edit.state) for s in ends] == [("l9", "retired"), ("l3", "trial")], "it leaves its place"


def test_harm_in_the_learners_own_attempts_ends_a_trial_before_any_user_sees_it() -> None:
    hidden = on_trial("l1", 0.0)
    assert state_after(hidden, groups(8, -0.5), shadow=True) == "retired"
    assert state_after(hidden, groups(7.9, -0.5), shadow=True) == "as it was", "too early to tell"
    assert waits(hidden, groups(7.9)) == "shadow outcomes of others than its sources: weight 7.9 of 8"


def test_without_harm_users_come_after_the_learners_own_attempts() -> None:
    step = step_of(on_trial("l1", 0.0), groups(8), shadow=True)
    assert step is not None
    assert (step.edit.state, step.edit.trial) == ("trial", Trial(exposure=0.05))
    assert added(groups(8), step.usage) == Usage(), "only what comes of live requests decides"


def test_no_lesson_waits_for_attempts_that_nobody_makes() -> None:
    assert due(on_trial("l1", 0.0), shadow=True) == []
    [step] = due(on_trial("l1", 0.0), shadow=False)
    assert step.edit.trial == Trial(exposure=0.05)
    [begun] = due(lesson("l1", "trial"), shadow=True, known={"l1": TWO_ARMS})  # its text is new, or a person's wish
    assert (begun.edit.trial, added(TWO_ARMS, begun.usage)) == (Trial(), Usage())


def test_each_look_without_harm_doubles_the_exposure_up_to_half() -> None:
    one, usage, exposures = on_trial("l1", 0.05), Usage(), [0.05]
    while step := step_of(one, usage := added(usage, arms(10, 4))):
        assert step.edit.trial is not None
        assert waits(
            one, usage
        ) == f"outcomes: {len(exposures) * 10} with it and {len(exposures) * 4} without it of 200 " + (
            f"(exposure {exposures[-1]:g})"
        )
        usage, exposures = added(usage, step.usage), [*exposures, step.edit.trial.exposure]
        one = one.model_copy(update={"trial": step.edit.trial})
    assert exposures == [0.05, 0.1, 0.2, 0.4, 0.5]
    assert one.trial == Trial(exposure=0.5, n_with=40, n_without=16)
    assert state_after(on_trial("l1", 0.05), arms(9, 100)) == "as it was"
    assert state_after(on_trial("l1", 0.05), arms(10, 0)) == "as it was", "there is nothing to compare with"


@given(st.integers(10, 60), st.integers(1, 150), st.floats(-0.05, 0.5), st.floats(0, 50))
def test_a_closed_exposure_says_as_much_as_it_did_open(a: int, b: int, lift: float, weight: float) -> None:
    usage = added(arms(a, b, lift), groups(weight, 0.1))
    step = step_of(on_trial("l1", 0.05), usage)
    assert step is not None
    after = added(usage, step.usage)
    assert (after.n_with, after.n_without, after.successes_with, after.successes_without) == (0, 0, 0, 0)
    assert after.weight == pytest.approx(weight + a * b / (a + b))
    assert after.weighted_difference == pytest.approx(weight * 0.1 + lift * a * b / (a + b), abs=1e-9)


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 300), st.floats(-0.5, 0.5), st.floats(0, 200))
def test_nothing_becomes_active_before_its_time(a: int, b: int, before: int, lift: float, weight: float) -> None:
    trial = Trial(exposure=0.5, n_with=before, n_without=before)
    state = state_after(lesson("l1", "trial", trial), added(arms(a, b, lift), groups(weight, lift)))
    assert state != "active" or (min(a, b) + before >= 200 and lift > 0.02)


@pytest.mark.parametrize(("lift", "first", "second"), [(0.2, "active", "active"), (0.1, "proposed", "retired")])
def test_a_trial_is_decided_once_at_its_last_outcome(lift: float, first: str, second: str) -> None:
    """200 and 200 outcomes: a bound of 0.098 below the lift has to be above 0.02."""
    for rounds, expected in enumerate([first, second]):
        one = lesson("l1", "trial", Trial(exposure=0.5, rounds=rounds, n_with=50, n_without=60))
        for short in (arms(149, 140, lift), arms(150, 139, lift)):
            assert state_after(one, added(short, groups(25, lift))) == "as it was"
        usage = added(arms(150, 140, lift), groups(27.3, lift))
        step = step_of(one, usage)
        assert step is not None
        assert step.edit.state == expected
        if expected == "active":
            after = added(usage, step.usage)
            assert (after.n_with, after.n_without) == (0, 0), "what is withheld from now on is an exposure of its own"
            assert observed(after) == pytest.approx(observed(usage)), "and what is known of it stays"
        if expected == "proposed":
            assert (step.edit.trial, added(usage, step.usage)) == (Trial(rounds=1), Usage())
    assert state_after(lesson("l1", "trial", Trial(exposure=0.5)), arms(200, 200, 0.117)) == "proposed"
    assert state_after(lesson("l1", "trial", Trial(exposure=0.5)), arms(200, 200, 0.119)) == "active"


def test_under_review_a_passed_trial_waits_for_a_person() -> None:
    step = step_of(on_trial("l1", 0.5), TWO_ARMS, trust="review")
    assert step is not None
    assert (step.edit.state, step.edit.trial, step.usage) == ("trial", Trial(exposure=0.5, passed=True), Usage())
    passed = lesson("l1", "trial", step.edit.trial)
    assert step_of(passed, TWO_ARMS, trust="review") is None
    assert state_after(passed, arms(300, 300, -0.2), trust="review") == "retired", "harm is still looked for"
    assert waits(passed) == "a person's approval: its trial is passed"


def test_harm_ends_a_trial_at_once() -> None:
    assert state_after(on_trial("l1", 0.05), arms(6, 60, -0.5)) == "retired"
    assert state_after(on_trial("l1", 0.05), arms(5, 60, -0.5)) == "as it was", "a handful may be bad luck"
    assert state_after(on_trial("l1", 0.05), arms(6, 60, -0.1)) == "as it was"


def test_an_active_lesson_that_hurts_is_demoted_and_tried_no_more() -> None:
    step = step_of(lesson("l1"), arms(100, 6, -0.4))
    assert step is not None
    assert (step.edit.state, step.edit.trial, step.usage) == ("proposed", Trial(rounds=MAX_ROUNDS), Usage())
    demoted = lesson("l1", "proposed", step.edit.trial)
    assert due(demoted, known={"l1": TWO_ARMS}) == []
    assert waits(demoted) == "a person's word: it was demoted"
    assert [state_after(lesson("l1"), u) for u in (Usage(), arms(90, 5, -0.4), arms(100, 6, -0.1))] == ["as it was"] * 3


def test_what_hurts_goes_first_and_what_waits_comes_last() -> None:
    crowd = [proposed("l3", "a", "b"), on_trial("l2", 0.05), lesson("l1"), *(proposed(f"l{i}", "a") for i in (4, 5))]
    steps = due(*crowd, max_proposed=1, known={"l1": arms(100, 6, -0.4), "l2": arms(10, 10)})
    assert [(s.edit.id, s.edit.state) for s in steps] == [
        ("l1", "proposed"), ("l2", "trial"), ("l5", "retired"), ("l3", "trial"),
    ]  # fmt: skip


def test_a_flood_pushes_out_itself() -> None:
    """Of 60 that wait the loud one's latest go; by age or support alone somebody else's would."""
    flood = [proposed(f"l{i}", "loud") for i in range(1, 51)]
    others = [proposed(f"l{i}", f"p{i}") for i in range(51, 58)]
    kept = [
        lesson("l58", "proposed", by=("author:me",)),
        proposed("l59", "x", "y", rounds=2),
        proposed("l60", "loud", "z"),
    ]
    gone = [step.edit for step in due(*flood, *others, *kept, max_proposed=20, min_principals=3)]
    assert {edit.state for edit in gone} == {"retired"}
    assert [edit.id for edit in gone] == [f"l{i}" for i in range(50, 10, -1)]
    last = [e.id for e in excess_first([*flood, *others, *kept])][-3:]
    assert sorted(last) == ["l58", "l59", "l60"] and last[-1] == "l58", "what waits for a person goes last"
