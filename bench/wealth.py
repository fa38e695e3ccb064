"""``python -m bench.wealth``: draw and write what the documentation shows of evidence from traffic.

The picture is a simulation with the functions that decide (`ted_memory.experience.evidence`). The
tables are the formula of ``ted-memory plan`` (`ted_memory.experience.forecast`). Both come out the
same each time.
"""

import io
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ted_memory.experience.assignment import LONGEST_TRIAL
from ted_memory.experience.evidence import Evidence, Sums, add_outcome, live_bet, live_steps
from ted_memory.experience.forecast import Forecast, Rates, forecast
from ted_memory.experience.trials import ENOUGH, ENOUGH_OUTCOMES, MOST_OUTCOMES, REFUTED
from ted_memory.settings import TrialRule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOCS = Path(__file__).parent.parent / "docs"
PICTURE = DOCS / "pictures" / "wealth.png"
GUIDE = DOCS / "guides" / "traffic.md"
BEGIN, END = "<!-- begin: python -m bench.wealth -->\n", "<!-- end -->\n"

BASE, LIFTS = 0.5, {"good (lift +0.2)": 0.2, "neutral (lift 0)": 0.0, "harmful (lift -0.2)": -0.2}
COLORS = ("#1f5fa8", "#777777", "#c8601a")
LESSONS, OUTCOMES, PRINCIPALS, LOUDEST = 100, MOST_OUTCOMES, 10, 2
LOWEST, HIGHEST = 1e-3, 1e4

SHARES = (0.01, 0.05, 0.2)  # of the requests that a lesson applies to
GRADED = (0.02, 0.2, 1.0)
MANY = 10**6  # requests a day: no trial runs out of time


@dataclass
class Course:
    """How the wealths of one simulated lesson go on, an entry an outcome."""

    helps: list[float] = field(default_factory=list)
    harms: list[float] = field(default_factory=list)


def simulate(lift: float, luck: random.Random) -> Course:
    """The wealths of one lesson that was replayed with a lift of 0.2, whatever it does to users."""
    refuted = REFUTED["strict"]
    bet = live_bet(Sums(pairs=1, score_with=BASE + 0.2, score_without=BASE), refuted)
    total, voices, course = Sums(), [Sums()] * PRINCIPALS, Course()
    for _ in range(OUTCOMES):
        shown, who = luck.random() < 0.5, luck.randrange(PRINCIPALS)
        score = float(luck.random() < BASE + lift * shown)
        guess = total.guess
        steps = live_steps(score, shown=shown, chance=0.5, guess=guess, bet=bet, refuted=refuted)
        total = add_outcome(total, score, steps)
        voices[who] = add_outcome(voices[who], score, steps)
        evidence = Evidence(total, tuple(voices))
        course.helps.append(evidence.live(LOUDEST))
        course.harms.append(evidence.harms(LOUDEST))
    return course


def picture() -> bytes:
    """A PNG of the wealth over outcomes, for a good, a neutral and a harmful lesson."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    luck = random.Random(5)
    courses = {name: [simulate(lift, luck) for _ in range(LESSONS)] for name, lift in LIFTS.items()}
    figure = Figure(figsize=(8.0, 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    needed = ENOUGH_OUTCOMES
    _draw(above, courses, lambda course: course.helps, "active", needed)
    _draw(below, courses, lambda course: course.harms, "retired", ENOUGH)
    above.set_ylabel("wealth of the bet that it helps")
    below.set_ylabel("wealth of the bet that it hurts")
    below.set_xlabel("live outcomes on trial")
    above.legend(loc="lower left", bbox_to_anchor=(0, 1.06), ncols=3, frameon=False)
    figure.suptitle(
        f"{LESSONS} simulated lessons each, "
        f"the {LOUDEST} loudest of {PRINCIPALS} principals left out\n"
        "line: median; band: 8 of 10 lessons; thin: one lesson",
        fontsize=11,
    )
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110, metadata={"Software": None})
    return drawn.getvalue()


def _draw(
    axes: "Axes",
    courses: dict[str, list[Course]],
    wealths: Callable[[Course], Sequence[float]],
    decided: str,
    needed: float,
) -> None:
    numbers = range(1, OUTCOMES + 1)
    for (name, lessons), color in zip(courses.items(), COLORS, strict=True):
        courses_of_wealth = [wealths(course) for course in lessons]
        at = [sorted(column) for column in zip(*courses_of_wealth, strict=True)]
        low = [_in_sight(column[int(0.1 * LESSONS)]) for column in at]
        high = [_in_sight(column[int(0.9 * LESSONS)]) for column in at]
        axes.fill_between(numbers, low, high, color=color, alpha=0.15, linewidth=0)
        middle = [_in_sight(statistics.median(column)) for column in at]
        axes.plot(numbers, middle, color=color, linewidth=2, label=name)
        axes.plot(numbers, [_in_sight(w) for w in wealths(lessons[0])], color=color, linewidth=0.7)
    axes.axhline(needed, color="black", linestyle="--", linewidth=0.8)
    told = [
        _told(name, [wealths(course) for course in lessons], needed)
        for name, lessons in courses.items()
    ]
    axes.set_title(f"{decided} at {needed:g}: {', '.join(told)}", fontsize=9, loc="left")
    axes.axhline(1, color="black", linewidth=0.5)
    axes.set_yscale("log")
    axes.set_ylim(LOWEST, HIGHEST)
    axes.set_xlim(0, OUTCOMES)
    axes.grid(alpha=0.3)


def _told(name: str, lessons: Sequence[Sequence[float]], needed: float) -> str:
    """How many lessons came so far, and by which outcome half of all had."""
    reached = [
        next((i for i, w in enumerate(wealths, 1) if w >= needed), None) for wealths in lessons
    ]
    there = sorted(number for number in reached if number is not None)
    half = LESSONS // 2
    soon = f" ({half} of them by outcome {there[half - 1]})" if len(there) >= half else ""
    return f"{len(there)} {name.partition(' ')[0]}{soon}"


def _in_sight(wealth: float) -> float:
    return min(max(wealth, LOWEST / 10), HIGHEST * 10)


def tables() -> str:
    """The tables of the guide as Markdown."""
    return "\n".join([*_of_lessons(), "", *_of_traffic()]) + "\n"


def _of_lessons() -> Iterable[str]:
    """Yield what a lesson takes where there is traffic enough, and how many become active."""
    yield (
        "| lift | pairs | student calls "
        "| live, strict | become active | live, quick | become active |"
    )
    yield "|---|---|---|---|---|---|---|"
    for lift in (0.1, 0.15, 0.2, 0.3, 0.4):
        strict, quick = _take(lift, "strict"), _take(lift, "quick")
        cells = [f"{strict.pairs}", f"{strict.calls:,}"]
        cells += [f"{found.outcomes} | {found.chance:.0%}" for found in (strict, quick)]
        yield f"| +{lift:g} | {' | '.join(cells)} |"


def _of_traffic() -> Iterable[str]:
    """Yield the requests that a lesson takes, and the fewest a day that a trial gets by with."""
    lifts = (0.15, 0.2, 0.4)
    yield f"| applies to | graded | {' | '.join(f'lift +{lift:g}' for lift in lifts)} |"
    yield "|---|---|---|---|---|"
    for share in SHARES:
        for graded in GRADED:
            cells = [_cell(_take(lift, "strict", graded, share)) for lift in lifts]
            yield f"| {share:.0%} | {graded:.0%} | {' | '.join(cells)} |"


def _take(lift: float, rule: TrialRule, graded: float = 1.0, applies: float = 1.0) -> Forecast:
    return forecast(Rates(MANY, graded, applies, PRINCIPALS), lift=lift, base=BASE, rule=rule)


def _cell(found: Forecast) -> str:
    outcomes, rates = found.outcomes or 0, found.rates
    least = outcomes / LONGEST_TRIAL.days / rates.graded / rates.applies
    return f"{_round(found.requests or 0)} ({_round(least)} a day)"


def _round(number: float) -> str:
    """A number with two figures: it is known no better."""
    return f"{float(f'{number:.2g}'):,.0f}"


def main() -> None:
    """Write the picture, and the tables into the guide."""
    PICTURE.write_bytes(picture())
    text = GUIDE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    GUIDE.write_text(head + BEGIN + tables() + END + rest.split(END, 1)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
