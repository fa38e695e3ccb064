"""Sample ids of any length and kind."""

from ted_memory import Sample
from ted_memory.distill import distill
from ted_memory.testing import in_memory
from tests.distill.scripts import CODES, sample, student, teacher


async def test_ids_that_differ_only_far_behind_are_different_samples() -> None:
    """Tokens are short; cut-off ids would let one sample's commit answer for another's."""
    given = [
        Sample(id="x" * 300 + thing, input=sample(thing).input, reference=CODES[thing])
        for thing in ("apples", "bananas", "cherries", "dates", "figs")
    ]
    report = await distill(
        given, student=student(), teacher=teacher(), memory=in_memory(validation=0.0)
    )
    assert report.learned == report.samples == len(given)
    assert report.experiences.active == report.samples
