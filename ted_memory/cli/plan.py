"""``ted-memory plan``: whether there is traffic enough to learn from, before one begins."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.experience.assignment import LONGEST_TRIAL
from ted_memory.experience.forecast import Forecast, Rates, forecast
from ted_memory.experience.trials import MOST_OUTCOMES, MOST_PAIRS
from ted_memory.settings import TrialRule


def plan(
    *,
    requests_a_day: Annotated[
        float, typer.Option("--requests-a-day", help="Of the agent, all of them.")
    ],
    graded: Annotated[
        float, typer.Option("--graded", help="Share with an outcome: feedback, or a judge's.")
    ],
    applies: Annotated[float, typer.Option("--applies", help="Share that the lesson applies to.")],
    lift: Annotated[
        float, typer.Option("--lift", help="By which the lesson raises the mean score there.")
    ],
    base: Annotated[float, typer.Option("--base", help="The mean score there without it.")] = 0.5,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule", help="As the setting trial_rule: strict, quick.  [default: the setting]"
        ),
    ] = None,
    principals: Annotated[
        int | None,
        typer.Option("--principals", help="As the setting min_principals.  [default: the setting]"),
    ] = None,
    users: Annotated[
        int, typer.Option("--users", help="Principals who grade, in about equal parts.")
    ] = 10,
    json: place.Json = False,
) -> None:
    """Say about how long a lesson from traffic takes to be active.

    In graded requests and in days. The figures are those by which half of the lessons with this
    lift get there: a formula, no measurement (ted_memory.experience.forecast). No memory is needed.

    Keys of --json: pairs, student_calls, outcomes, graded_requests, requests, days,
    days_with_a_filled_archive (null where nothing is ever decided), matched_a_day, chance (0 to 1).

    Examples:
        ted-memory plan --requests-a-day 5000 --graded 0.2 --applies 0.05 --lift 0.2
    """
    settings = place.settings_of(None)
    rates = Rates(requests_a_day=requests_a_day, graded=graded, applies=applies, principals=users)
    rule = rule or settings.trial_rule
    principals = settings.min_principals if principals is None else principals
    found = forecast(
        rates, lift=lift, base=base, rule=cast(TrialRule, rule), min_principals=principals
    )
    if json:
        output.print_json(_as_json(found))
        return
    left_out = ""
    if principals > 1:
        left_out = f", without the {principals - 1} loudest of {users} principals"
    output.out.print(f"a lesson that raises {base:g} by {lift:g}, trial rule {rule}{left_out}:")
    for line in _in_words(found):
        output.out.print(f"  {line}", markup=False)


def _as_json(found: Forecast) -> dict[str, Any]:
    return {
        "pairs": found.pairs,
        "student_calls": found.calls,
        "outcomes": found.outcomes,
        "graded_requests": found.graded,
        "requests": found.requests,
        "matched_a_day": found.rates.matched_a_day,
        "days": found.days(found.graded),
        "days_with_a_filled_archive": found.days(found.outcomes),
        "chance": found.chance,
    }


def _in_words(found: Forecast) -> list[str]:
    pairs, outcomes = found.pairs, found.outcomes
    replays, live = found.days(pairs), found.days(outcomes)
    if pairs is None or outcomes is None:
        return [
            "nothing is ever decided: no principal is left, or the lift is too small to be seen"
        ]
    lines = [
        f"replays: about {pairs:,} pairs of answers ({found.calls:,} student calls); "
        "no user is involved",
        f"live: about {outcomes:,} graded requests that it applies to; half of them see it",
        f"at {found.rates.matched_a_day:.3g} such requests a day: "
        f"{replays:,.3g} days of replays (none where the archive is filled), "
        f"then {live:,.3g} days live; {found.requests:,} requests in all",
        f"chance to get there within {MOST_PAIRS} pairs and {MOST_OUTCOMES} outcomes "
        f"(the busiest principals' not counted) or the {LONGEST_TRIAL.days} days of a trial: "
        f"{found.chance:.0%}",
    ]
    if found.chance < 0.5:
        lines.append(
            "too little for it: let a judge grade more, or use ted-memory distill --from-traffic"
        )
    return lines
