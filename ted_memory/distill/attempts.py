"""Attempts as the critic reads them: whole, or as a digest of premises, steps and conclusion.

A student writes as it likes. What it wrote is sorted here without another model call: what it
concludes is what graders look at, a step is a numbered or bulleted line, a tool call, or a sentence
of the reasoning, and what comes before the first step of a list is what it takes as given.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ted_memory.distill.state import mean_score
from ted_memory.grading.answers import ANSWER_MARK, final_answer
from ted_memory.models import Trajectory

LONGEST = 1500  # characters of one attempt that the critic sees
MOST_STEPS = 12

_ITEM = re.compile(
    r"^\s*(?:[-*\u2022]|\(?\d{1,2}[.):]|step\s+\d{1,2}\s*[.:)])\s+(?=\S)", re.IGNORECASE
)
_HEADING = re.compile(
    r"^\W*(?:premises?|given|facts|steps?|reasoning|solution|conclusion|(?:final )?answer)\W*$",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+(?=\S)|(?<=[\u3002\uff01\uff1f])")
_LEADS = {  # words before "answer is" that say nothing
    *("", "so", "the", "thus", "hence", "therefore", "my"),
    *("also", "die", "donc", "la", "a", "het"),
}
_THOUGHTS = re.compile(r"</?think>")


@dataclass(frozen=True)
class Attempt:
    """One attempt, taken apart.

    Each part may be empty; the conclusion is empty only if the attempt is.
    """

    premises: str
    steps: tuple[str, ...]
    conclusion: str


def take_apart(text: str, tools: Sequence[str] = ()) -> Attempt:
    """Sort an attempt into premises, steps and conclusion.

    `tools` are the tool calls that came before its text: they are its first steps.
    """
    thoughts, _, said = text.rpartition("</think>")
    if not said.strip():
        thoughts, said = "", text
    conclusion = final_answer(said)
    # without a mark all that it says is its conclusion, and only its thoughts are steps
    whole = thoughts if conclusion == said.strip() else f"{thoughts}\n{said}"
    lines = _lines_before(conclusion, whole)
    first = next((i for i, line in enumerate(lines) if _ITEM.match(line)), None)
    if first is None:
        return Attempt("", (*tools, *_sentences(lines)), conclusion)
    return Attempt(" ".join(lines[:first]), (*tools, *_items(lines[first:])), conclusion)


def _lines_before(conclusion: str, text: str) -> list[str]:
    """Return the lines of a text that say something, up to its conclusion."""
    stripped = (line.strip() for line in _THOUGHTS.sub("\n", text).splitlines())
    lines = [line for line in stripped if line and not _HEADING.match(line)]
    if lines:
        lines[-1:] = _before(lines[-1], conclusion)
    return lines


def _before(line: str, conclusion: str) -> list[str]:
    """Return what a last line says before it comes to the conclusion.

    Nothing when it is no more than that.
    """
    if line == conclusion:
        return []
    if final_answer(line) != conclusion:
        return [line]
    if "\\boxed{" in line:
        return [] if _is_only_boxed(line) else [line]
    words = line[: list(ANSWER_MARK.finditer(line))[-1].start()].split()
    while words and words[-1].strip("*_#`,").casefold() in _LEADS:
        words.pop()
    return [" ".join(words)] if words else []


def _is_only_boxed(line: str) -> bool:
    """Tell whether no word stands before the first box of a line, nor after its last brace."""
    before, _, boxed = line.partition("\\boxed{")
    _, closed, after = boxed.rpartition("}")
    return bool(closed) and not re.search(r"\w", before + after)


def _items(lines: Sequence[str]) -> list[str]:
    """Join the lines that go on with an item to it."""
    items: list[str] = []
    for line in lines:
        if _ITEM.match(line) or not items:
            items.append(_ITEM.sub("", line))
        else:
            items[-1] += f" {line}"
    return items


def _sentences(lines: Sequence[str]) -> list[str]:
    return [sentence for line in lines for sentence in _SENTENCE.split(line) if sentence]


def describe_attempts(trajectories: Sequence[Trajectory]) -> str:
    """Write the attempts as digests: premises, steps, conclusion.

    Each is cut to `LONGEST` characters, and equal ones stand once, with their number: a critique
    costs by the token. `whole_attempts` writes them whole.
    """
    counted: Counter[tuple[str, str]] = Counter()
    for t in trajectories:
        comment = f" ({_shortened(t.comment, 200)})" if t.comment else ""
        counted[(_verdict(t) + comment, _shown(t) if t.text or t.tools else t.error)] += 1
    return "\n".join(f"- {n} x {verdict}: {text}" for (verdict, text), n in counted.items())


def whole_attempts(trajectories: Sequence[Trajectory], tokens: int) -> str:
    """Write the attempts whole, best first; above them where the best and the worst one part.

    What has no score stands last, and is neither. The same text stands there once, with all that
    was said of it. What does not fit into `tokens` (of 4 bytes) is left out in the middle of the
    longest ones, and said so.
    """
    by_text: dict[str, list[Trajectory]] = defaultdict(list)
    for t in sorted(trajectories, key=lambda t: _best_first([t])):
        by_text[_whole(t)].append(t)
    groups = sorted(by_text.values(), key=_best_first)
    texts = _fitted([_whole(same[0]) for same in groups], tokens * 4)
    parts = [_parting([same[0] for same in groups if same[0].score is not None])]
    for number, (text, group) in enumerate(zip(texts, groups, strict=True), 1):
        parts.append(f"## Attempt {number} ({_verdicts(group)})\n{text}")
    return "\n\n".join(part for part in parts if part)


def _best_first(same: Sequence[Trajectory]) -> tuple[bool, float]:
    """Sort attempts with the same text by their mean score, without one last."""
    mean = mean_score(same)
    return mean is None, -(mean or 0.0)


def _verdict(trajectory: Trajectory) -> str:
    if trajectory.score is not None:
        return f"score {trajectory.score:g}"
    return "not graded" if trajectory.text else "no answer"


def _verdicts(same: Sequence[Trajectory]) -> str:
    """Say what became of attempts with the same text: a grader may judge one text in two ways."""
    told = [
        (_verdict(t), f", graded: {_shortened(t.comment, 400)}" if t.comment else "") for t in same
    ]
    counted = Counter(told)
    if len(counted) > 1:
        each = "; ".join(f"{n} x {verdict}{comment}" for (verdict, comment), n in counted.items())
        return f"{len(same)} times the same: {each}"
    [(verdict, comment)] = counted
    times = f", {len(same)} times the same" if len(same) > 1 else ""
    return f"{verdict}{times}{comment}"


def _whole(trajectory: Trajectory) -> str:
    calls = [f"[tool call] {call}" for call in trajectory.tools]
    return "\n".join([*calls, trajectory.text or f"(no answer: {trajectory.error})"])


def _fitted(texts: Sequence[str], most: int) -> list[str]:
    """Shorten the longest texts until all of them have at most so many characters together."""
    longest = max(map(len, texts), default=0)
    lengths = sorted(map(len, texts))
    for i, length in enumerate(lengths):
        rest = len(lengths) - i
        if sum(lengths[:i]) + length * rest > most:
            longest = max((most - sum(lengths[:i])) // rest, 200)
            break
    return [text if len(text) <= longest else _without_middle(text, longest) for text in texts]


def _without_middle(text: str, most: int) -> str:
    half = most // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def _parting(scored: Sequence[Trajectory]) -> str:
    """Say at which step the first and the last of these part.

    "" when they do so from the start or never.
    """
    if len(scored) < 2:
        return ""
    best, worst = (list(take_apart(t.text, t.tools).steps) for t in (scored[0], scored[-1]))
    same = 0
    while same < min(len(best), len(worst)) and best[same].casefold() == worst[same].casefold():
        same += 1
    if not same:
        return ""
    ahead = [
        _shortened(steps[same], 300) if same < len(steps) else "(it ends)"
        for steps in (best, worst)
    ]
    return (
        f"The best and the worst attempt agree in their first {same} steps. "
        f"Then the best one goes on: {ahead[0]}\n"
        f"and the worst one: {ahead[1]}"
    )


def _shown(trajectory: Trajectory) -> str:
    attempt = take_apart(trajectory.text, trajectory.tools)
    if not attempt.premises and not attempt.steps:
        return _shortened(attempt.conclusion, LONGEST)
    steps = list(attempt.steps)
    if len(steps) > MOST_STEPS:
        half = MOST_STEPS // 2
        steps = [*steps[:half], f"... {len(steps) - MOST_STEPS} more steps ...", *steps[-half:]]
    each = LONGEST // (len(steps) + 3)  # premises, the steps, and twice as much for the conclusion
    parts = [f"  premises: {_shortened(attempt.premises, each)}"] if attempt.premises else []
    parts += [f"  step {i}: {_shortened(step, each)}" for i, step in enumerate(steps, 1)]
    return "\n" + "\n".join([*parts, f"  conclusion: {_shortened(attempt.conclusion, 2 * each)}"])


def _shortened(text: str, most: int) -> str:
    """Leave out the middle: how an attempt begins and what it ends with say most."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"
