"""Calls and tokens for 100 samples in one pass, beside Training-Free GRPO at five attempts."""

from bench import grpo, method
from bench.figures import Figure, Measured

TITLE = "Calls and tokens of the method"
SHARES = (0.2, 0.5, 0.8)


async def measure(url: str) -> list[Measured]:  # noqa: ARG001
    """Measure with revisions of lessons (two tries) and without, at three strengths of student."""
    figures: list[Measured] = []
    for share in SHARES:
        other = await method.theirs(100, share, 1)
        whole = await method.theirs(100, share, grpo.PASSES)
        for tries, most in ((0, 0.9), (2, None)):
            mine = await method.ours(100, share, tries=tries)
            name = f"{share:.0%} solved alone, {'with' if tries else 'without'} revisions"
            both, their = method.tokens(mine), method.tokens(other)
            figures += [
                Figure(
                    f"tokens, {name}",
                    both,
                    "",
                    "one pass of GRPO",
                    their,
                    at_most=most,
                    note=f"{both / method.tokens(whole):.2f} of its {grpo.PASSES} passes",
                ),
                Figure(
                    f"teacher calls, {name}",
                    mine.teacher.calls,
                    "",
                    "one pass of GRPO",
                    other.teacher.calls,
                    at_most=None if tries else 0.5,
                ),
            ]
    return figures
