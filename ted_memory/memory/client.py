"""TedMemory: the face of one set. It is thin: the rules lie in `experience`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from ted_memory import telemetry
from ted_memory.capture.recorder import Hooks, Recorder
from ted_memory.derived import Derived
from ted_memory.episodes import ANONYMOUS, Episode, Exposure, Feedback, Verdict
from ted_memory.experience.assignment import Selector, expose
from ted_memory.experience.ranking import NO_QUESTION, Ranking
from ted_memory.fields import check_namespace
from ted_memory.memory.cache import Health, Snapshots
from ted_memory.memory.commits import CommitTerms
from ted_memory.memory.curation import Curated
from ted_memory.memory.presentation import View, exposure_of, text_of
from ted_memory.memory.repository import SetRepository
from ted_memory.models import (
    Caps,
    Commit,
    Edit,
    Experience,
    ExperienceSet,
    Presentation,
    Usage,
)
from ted_memory.protocols import ExperienceStore, Settle
from ted_memory.retrieval.protocol import Retriever
from ted_memory.retrieval.ranker import Ranker
from ted_memory.settings import Settings


class TedMemory(Curated):
    """One experience set, shared by all that open it.

    Made by `open_memory`. Usable as an async context manager; without one, `aclose` ends it.
    """

    settings: Settings
    """The settings that it was opened with."""

    def __init__(
        self,
        store: ExperienceStore,
        settings: Settings,
        namespace: str,
        *,
        first_wait: float | None = None,
        hooks: Hooks | None = None,
        recorders: dict[str, Recorder] | None = None,
        retriever: Retriever | None = None,
        ranker: Ranker | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.namespace = namespace
        self._first_wait = first_wait
        self._hooks = hooks or Hooks()
        # of all that share these connections
        self._recorders = {} if recorders is None else recorders
        self._retriever = retriever
        self._views: Derived[View] = Derived()
        self._ranker = ranker or Ranker(
            retriever, language=settings.language, vectors=store.vectors(namespace)
        )
        caps = Caps(max_experiences=settings.max_experiences, token_budget=settings.token_budget)
        self._snapshots = Snapshots(
            self._look,
            ExperienceSet(namespace=namespace, epoch="", version=0, caps=caps),
            refresh=settings.refresh,
            patience=first_wait or settings.read_timeout,
            feed=store.feed(namespace) if settings.push and "~" not in namespace else None,
        )
        self.repository = SetRepository(store, namespace, self._snapshots, settings)
        """The set in its store, for what works beside agents."""

    # copied or pickled it comes back unconnected, with an empty buffer
    def __reduce__(self) -> tuple[Any, ...]:
        return self._another(), (self.store, self.settings, self.namespace)

    def _another(self) -> "partial[TedMemory]":
        return partial(
            TedMemory, first_wait=self._first_wait, hooks=self._hooks, retriever=self._retriever
        )

    async def __aenter__(self) -> Self:
        try:
            snapshot = await self.load()  # a wrong URL is told now, not at the first agent call
            await self._ranker.check()
            await self._ranker.preload(snapshot.candidates)
        except BaseException:  # Python calls no __aexit__ then
            await self.aclose()
            raise
        self._snapshots.preload()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of all connections, also those of memories made by `for_namespace`."""
        await self._snapshots.aclose()
        await self._ranker.aclose()
        for recorder in list(self._recorders.values()):
            await recorder.aclose()
        await self.store.aclose()

    def for_namespace(self, namespace: str) -> "TedMemory":
        """Open another experience set over the same connections; no I/O.

        Raises:
            InvalidInput: the namespace has a character that is not allowed.
        """
        return self._another()(
            self.store, self.settings, check_namespace(namespace), recorders=self._recorders
        )

    def staging(self, run: str, settings: Settings | None = None) -> "TedMemory":
        """Open the set in which a run of `distill` works; agents never read it."""
        # what a lesson's words mean is the same there: one ranker, and one place for vectors
        return TedMemory(
            self.store, settings or self.settings, f"{self.namespace}~{run}", ranker=self._ranker
        )

    async def _look(self, held: ExperienceSet | None) -> ExperienceSet | None:
        with telemetry.reading():
            return await self.store.read_fast(self.namespace, held)

    async def load(self) -> ExperienceSet:
        """Read the set as it is now; empty at version 0 when nothing was ever committed.

        Raises:
            StoreError: the store cannot be read.
        """
        return await self.repository.read()

    async def snapshot(self) -> ExperienceSet:
        """Give the set for an agent's call: cached, at most `read_timeout` late, never an error."""
        return await self._snapshots.get()

    def presentation(self, snapshot: ExperienceSet) -> Presentation:
        """Tell how this memory shows a set; no I/O.

        What was stated for this memory, as an argument or in the environment, wins over what the
        set carries, and that over the settings' defaults; each field by itself.
        """
        return self._view(snapshot).presentation

    def _view(self, snapshot: ExperienceSet) -> View:
        return self._views.get_or_make(snapshot, lambda: View.of(snapshot, self.settings))

    def selector(self, snapshot: ExperienceSet) -> Selector:
        """Give the rule that chooses what stands in a prompt, as it stands there.

        See `presentation`.
        """
        return self._view(snapshot).choose

    async def rank(
        self, experiences: Sequence[Experience], question: str, *, patience: float | None = None
    ) -> Ranking:
        """Tell which of these the question is about. Never raises.

        The retriever is waited for ``patience`` seconds (None: as long as it takes); then words
        rank instead.
        """
        return await self._ranker.rank(experiences, question, patience=patience)

    async def show(
        self,
        snapshot: ExperienceSet,
        question: str = "",
        *,
        experiences: Sequence[Experience] | None = None,
        patience: float | None = None,
    ) -> tuple[Experience, ...]:
        """Choose which of these experiences stand in the prompt for a question. Never raises.

        By default they are the snapshot's active ones. Nothing is ranked where the selection does
        not look at the question.
        """
        view = self._view(snapshot)
        active = snapshot.active if experiences is None else experiences
        ranking = NO_QUESTION
        if view.asks:
            among = snapshot.candidates if experiences is None else experiences
            ranking = await self._ranker.rank(among, question, patience=patience)
        return view.choose(active, snapshot.usage, ranking)

    async def present(self, question: str = "") -> Exposure:
        """Give the block for a prompt, where it belongs, and solved tasks as earlier turns.

        Never raises.
        """
        began = telemetry.now()
        snapshot = await self._snapshots.get()
        exposure = await self._presented(snapshot, question)
        telemetry.searched(self.namespace, question, exposure, snapshot, began=began)
        return exposure

    async def _presented(self, snapshot: ExperienceSet, question: str) -> Exposure:
        view = self._view(snapshot)
        if view.same_for_all is not None:
            return view.same_for_all
        seen = await self._seen(snapshot, question)
        exposure = exposure_of(seen, view.presentation.placement, snapshot)
        if not view.asks:
            view.same_for_all = exposure
        return exposure

    async def render(self, question: str = "") -> str:
        """Write all that a prompt is shown as one text block, "" when the set is empty.

        Solved tasks, which `present` gives as turns of their own, stand in it as examples.
        ``question`` is the task at hand; selection ``relevant`` picks by it, the others don't look
        at it. Never raises: without the store it goes on with what it last saw (see `health`).
        """
        began = telemetry.now()
        snapshot = await self._snapshots.get()
        exposure = await self._as_text(snapshot, question)
        telemetry.searched(self.namespace, question, exposure, snapshot, began=began)
        return exposure.block

    async def _as_text(self, snapshot: ExperienceSet, question: str) -> Exposure:
        view = self._view(snapshot)
        if view.text_for_all is not None:
            return view.text_for_all
        text = text_of(await self._seen(snapshot, question), snapshot)
        if not view.asks:
            view.text_for_all = text
        return text

    async def _seen(self, snapshot: ExperienceSet, question: str) -> tuple[Experience, ...]:
        return await self.show(snapshot, question, patience=self.settings.read_timeout)

    async def expose(
        self, question: str = "", *, unit: str, principal: str = ANONYMOUS
    ) -> Exposure:
        """Give what one recorded request is shown: as `present`, and what is on trial.

        By a coin it sees a lesson on trial or not, and now and then one that is active is withheld.

        ``unit`` is the conversation (thread id), else the run: one is assigned in the same way
        throughout. What is ``seen`` and ``withheld`` belongs into its `Episode`. Never raises.
        """
        began, who = telemetry.now(), self._who(principal)
        snapshot = await self._snapshots.get()
        ranking = await self._ranker.rank(
            snapshot.candidates, question, patience=self.settings.read_timeout
        )
        view = self._view(snapshot)
        exposure = expose(
            snapshot,
            view.choose,
            ranking,
            unit=unit,
            principal=who,
            withhold_share=self.settings.withhold_share,
            now=datetime.now(UTC),
            placement=view.presentation.placement,
        )
        telemetry.searched(self.namespace, question, exposure, snapshot, began=began)
        return exposure

    def _who(self, principal: str) -> str:
        """Tell what stands for a principal in the store; nobody where the user's hook fails.

        No run is kept then.
        """
        try:
            return self.recorder.stored(principal)
        except Exception:  # noqa: BLE001 - an agent's call goes on; the recorder tells of it
            return ANONYMOUS

    @property
    def recorder(self) -> Recorder:
        """The buffer of what agents of this namespace did, on its way to the store."""
        found = self._recorders.get(self.namespace)
        if found is None:
            made = Recorder(self.store.episodes, self.settings, self.namespace, self._hooks)
            found = self._recorders.setdefault(self.namespace, made)
        return found

    async def record(self, episode: Episode) -> None:
        """Hand in one run of an agent, to be learned from; sent in the background (see `flush`)."""
        self.recorder.put(episode.run_id, lambda: (episode, {}))

    async def flush(self) -> None:
        """Wait until every recorded run that has ended is in the store.

        Raises:
            StoreError: the store cannot be reached; what was not sent is kept.
        """
        await self.recorder.flush()

    async def give_feedback(
        self,
        run_id: str,
        *,
        score: float | None = None,
        principal: str = ANONYMOUS,
        comment: str = "",
        correction: str = "",
        reviewer: bool = False,
    ) -> Verdict:
        """Say how good a run was, now or up to 30 days later.

        It is credited to the lessons that the run had seen. A ``correction``, the answer that would
        have been right, becomes the reference to learn from. A later score takes the place of an
        earlier one. A named ``principal`` speaks of his own runs alone (else ``foreign``), unless
        you know him as a ``reviewer``. The answer is ``unknown`` for a run that is not recorded
        (yet): should it come, this waits for it.

        Raises:
            InvalidInput: the run id cannot be used, or the score is outside [0, 1].
            StoreError: the store cannot be reached.
        """
        feedback = Feedback.checked(
            run_id=run_id,
            score=score,
            principal=principal,
            comment=comment,
            correction=correction,
            reviewer=reviewer,
        )
        return await self.recorder.give_feedback(feedback)

    async def commit(
        self,
        edits: Iterable[Edit],
        *,
        author: str,
        why: str = "",
        token: str | None = None,
        base: ExperienceSet | None = None,
        atomic: bool = False,
        usage: Mapping[str, Usage] | None = None,
        models: Mapping[str, str] | None = None,
        presentation: Presentation | None = None,
        settle: Settle | None = None,
    ) -> Commit:
        """Apply edits as one new version of the set.

        Edits take effect one by one: one that conflicts with a change since ``base`` (default:
        now), or would break a cap, is in ``rejected`` with its reason, and the others stand. With
        ``atomic`` one refusal refuses all. ``usage`` is added to the experiences' usage in the same
        step; ``models`` (names of student and teacher) and ``presentation`` (how the set is best
        shown, see `presentation`) are kept with the set when an edit takes effect, until others
        take their place; without edits one of them that differs makes a version by itself. A
        rollback restores neither. ``settle`` takes an episode out of the queue in the same step.
        ``token`` names the commit: the same token again gets the same answer and has no second
        effect, for 7 days; where it settles an episode for an hour, and later it is ``ClaimLost``.

        Raises:
            InvalidInput: the token or author cannot be used.
            StoreError: the store cannot be reached or read.
            SettingsError: the set keeps vectors of other embeddings than this memory's; nothing was
                written.
            ClaimLost: another learner holds the episode that was to be settled; nothing was
                written.
            NotDurable: it took effect, but not as durably as asked for (setting ``durability``).
        """
        await self._ranker.check()
        terms = CommitTerms(
            author=author,
            why=why,
            token=token,
            atomic=atomic,
            usage=usage,
            models=models,
            presentation=presentation,
            settle=settle,
        )
        commit = await self.repository.commit(tuple(edits), terms, base=base)
        await self._ranker.prepare_after(commit, self.load)
        return commit

    def health(self) -> Health:
        """Tell what an agent's path has counted so far; no I/O."""
        counted = {**self.recorder.counts(), "retrieval_fallbacks": self._ranker.fallbacks}
        return self._snapshots.health().model_copy(update=counted)
