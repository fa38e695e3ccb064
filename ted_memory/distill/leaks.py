"""A leak is a lesson that tells the answer of the sample it came from.

It is one where other samples have other answers. A label that recurs (a team, a code, a category)
is no leak: to say which inputs get it is what a lesson is for. What slips through here, because it
says the answer in other words, is still measured on samples with other answers before anybody sees
it (`ted_memory.distill.run.gate`).
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence

from ted_memory.grading.answers import NUMBER, final_answer, plain, stands_in
from ted_memory.models import Sample

RUN = 4  # words in a row that a long answer is recognised by
COPIED = 0.6  # share of a long answer's runs that make a text a copy of it
LISTED = 0.5  # share of the tasks that name an answer which is one of a fixed set
SHARED = 0.6  # different answers in proportion to samples, at most, where answers are labels
FEW = 3  # times that each number is an answer, in the mean and at least, where numbers are labels
# share of the samples that has an answer which is a label even where most others have one of their
# own
OFTEN = 0.1
SHORT = 8  # words; an answer up to this length is looked for as a whole

_DATE = re.compile(r"\b\d{1,4}([-/.])\d{1,2}\1\d{1,4}\b")
_WORD = re.compile(r"\w+")


def recurring_answers(samples: Sequence[Sample], *, of_users: bool = False) -> dict[str, str]:
    """Return the answers that are labels of a fixed set, sorted.

    The keys are in plain form, the values as they are written.

    At least two of these samples have such an answer, and most samples one that recurs; or the
    answer is frequent among answers that are not, as "please call the office" among free replies;
    or half of the tasks and more name it, as where each task lists what may be answered. Two sums
    may come to the same: numbers and dates are labels only where all samples together have few
    answers, each of them several times. Where the answers are ``of_users``, being frequent among
    open ones makes none a label: one account could repeat a text until critics are told it.
    """
    written = {plain(s.reference): s.reference for s in samples if s.reference}
    counts = Counter(plain(s.reference) for s in samples if s.reference)
    rule = _LabelRule(counts, [plain(s.text) for s in samples], of_users=of_users)
    return {answer: written[answer] for answer in sorted(counts) if rule.is_label(answer)}


class _LabelRule:
    """Which answers are labels, as `recurring_answers` says it.

    Args:
        counts: how often each answer was given, in plain form.
        tasks: of all samples, in plain form.
        of_users: whether users wrote the answers.
    """

    def __init__(self, counts: Counter[str], tasks: Sequence[str], *, of_users: bool) -> None:
        self._counts, self._tasks = counts, tasks
        total = counts.total()
        self._are_few = len(counts) * FEW <= total
        self._are_shared = len(counts) <= SHARED * total
        self._often = math.inf if of_users else max(FEW, OFTEN * total)

    def is_label(self, answer: str) -> bool:
        count = self._counts[answer]
        if not answer:
            return False
        if is_computed(answer):
            return self._are_few and count >= FEW
        recurs = self._are_shared and count > 1
        return recurs or count >= self._often or is_listed(answer, self._tasks)


def is_listed(answer: str, texts: Sequence[str]) -> bool:
    """Tell whether at least half of these tasks name an answer; both in plain form.

    Numbers are never listed.
    """
    if len(texts) < 2 or not answer or is_computed(answer):
        return False
    return sum(stands_in(answer, text) for text in texts) >= LISTED * len(texts)


def has_open_answer(reference: str, labels: Collection[str]) -> bool:
    """Tell whether an answer is its sample's own, not one of a fixed set that recurs.

    Choices do not make it one: they may be others in each task.
    """
    return bool(reference) and plain(reference) not in labels


def leaks(text: str, sample: Sample, reference: str, labels: Collection[str]) -> bool:
    """Tell whether a text holds the answer of a sample that has an answer of its own.

    Args:
        text: all that an edit says: condition, text and example.
        sample: what the edit came from.
        reference: the sample's right answer.
        labels: answers that recur (see `recurring_answers`), in plain form.
    """
    if sample.choices or not has_open_answer(reference, labels):
        return False
    answer = final_answer(reference)
    said, wanted = plain(text), plain(answer)
    if not wanted:
        return False
    if stands_in(wanted, said):
        return True
    if NUMBER.fullmatch(wanted):
        return any(_same_number(wanted, found) for found in NUMBER.findall(said))
    if _DATE.fullmatch(wanted):
        return any(_digits(found[0]) == _digits(wanted) for found in _DATE.finditer(said))
    return _is_copy(wanted, said)


def is_computed(answer: str) -> bool:
    """Tell whether an answer, in plain form, is a number or a date.

    Two tasks may come to the same one by chance.
    """
    return bool(NUMBER.fullmatch(answer) or _DATE.fullmatch(answer))


def _same_number(left: str, right: str) -> bool:
    try:
        return float(left.replace(",", "")) == float(right.replace(",", ""))
    except ValueError:  # a fraction
        return left.replace(" ", "") == right.replace(" ", "")


def _digits(date: str) -> list[int]:
    return sorted(int(part) for part in re.findall(r"\d+", date))


def _is_copy(answer: str, text: str) -> bool:
    """Tell whether a text holds most of an answer of several words."""
    wanted, said = _WORD.findall(answer), _WORD.findall(text)
    if len(wanted) < 2:
        return False
    if len(wanted) <= SHORT:
        return f" {' '.join(wanted)} " in f" {' '.join(said)} "
    runs = [tuple(wanted[i : i + RUN]) for i in range(len(wanted) - RUN + 1)]
    known = {tuple(said[i : i + RUN]) for i in range(len(said) - RUN + 1)}
    return sum(run in known for run in runs) >= COPIED * len(runs)
