"""Embeddings that follow a script, for tests."""

import asyncio

from langchain_core.embeddings import Embeddings

TOPICS = (
    ("refund", "money", "paid back"),
    ("late", "parcel", "waiting"),
    ("stolen", "thief", "gone"),
)


class TopicEmbeddings(Embeddings):
    """One number for each topic that a text names; synonyms are near although they share no word.

    ``delay``: seconds that each answer takes. ``away``: it fails. ``asked``: every text so far.
    """

    def __init__(self, *, model: str = "topics", padding: int = 1) -> None:
        self.model = model
        self.padding = padding
        self.delay = 0.0
        self.away = False
        self.asked: list[str] = []

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(text)
        if self.away:
            raise ConnectionError("no answer from the provider")
        named = [float(any(word in text.lower() for word in topic)) for topic in TOPICS]
        return [*named, *[0.01] * self.padding]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        await asyncio.sleep(self.delay)
        return self.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        await asyncio.sleep(self.delay)
        return self.embed_documents(texts)
