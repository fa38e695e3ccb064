"""What may leave the process: no secrets, nothing of our own block, of a bounded size."""

import time
from collections.abc import Callable

from ted_memory.capture.texts import cut, fit, storable, with_texts, without_block
from ted_memory.episodes import ANONYMOUS, Episode, Feedback

STEP_ASIDE = 0.00002
"""Seconds: an agent that waits for the interpreter gets it now, not 5 ms later."""
AFTER = 0.0005
"""Seconds of work after which the thread steps aside, between two texts."""


class Cleaner:
    """Cleans the episodes and the feedback of one namespace.

    Args:
        namespace: stands in each episode that is cleaned.
        episode_size: bytes of an episode at most.
        redact: masks what must not be stored, in each text.
        identify: what is stored in place of a principal or a conversation.
    """

    def __init__(
        self,
        namespace: str,
        episode_size: int,
        redact: Callable[[str], str],
        identify: Callable[[str], str],
    ) -> None:
        self._namespace = namespace
        self._episode_size = episode_size
        self._redact = redact
        self._identify = identify
        self._stepped_aside = 0.0

    def _step_aside(self) -> None:
        if time.perf_counter() - self._stepped_aside >= AFTER:
            time.sleep(STEP_ASIDE)
            self._stepped_aside = time.perf_counter()

    def stored(self, who: str) -> str:
        """What stands for a principal or a conversation in the store."""
        return who if who in {"", ANONYMOUS} else self._identify(who)

    def episode(self, episode: Episode) -> Episode:
        """Clean an episode; raises whatever a user's hook raises. Long texts take a while."""

        def redacted(text: str) -> str:
            self._step_aside()
            return storable(self._redact(text))

        identified = episode.model_copy(
            update={
                "namespace": self._namespace,
                "principal": self.stored(episode.principal),
                "thread_id": self.stored(episode.thread_id),
            }
        )
        plain = with_texts(identified, lambda text: storable(without_block(text)))
        # nobody need look through what would be cut anyway
        bounded = fit(plain, 2 * self._episode_size)
        return fit(with_texts(bounded, redacted), self._episode_size)

    def feedback(self, feedback: Feedback) -> Feedback:
        """Clean feedback; each of its texts may take a quarter of an episode."""
        longest = self._episode_size // 4

        def clean(text: str) -> str:
            return storable(self._redact(cut(without_block(text), longest)))

        return feedback.model_copy(
            update={
                "comment": clean(feedback.comment),
                "correction": clean(feedback.correction),
                "principal": self.stored(feedback.principal),
            }
        )
