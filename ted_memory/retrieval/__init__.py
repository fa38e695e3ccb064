"""Which experiences fit a question: by words, by embeddings, by both, or by your own retriever.

``open_memory(embeddings=...)``, or ``open_memory(retriever=FusedRetriever(WordRetriever("de"),
MyRetriever()))``. Without either it is by words, in the language of each lesson.

A set's `Ranker` asks a `Retriever`, and makes an `experience.ranking.Ranking` of its answer;
`selection` chooses from that what stands in a prompt.
"""

from ted_memory.retrieval.bm25 import WordRetriever
from ted_memory.retrieval.embeddings import Embedder, EmbeddingRetriever
from ted_memory.retrieval.fusion import FusedRetriever
from ted_memory.retrieval.protocol import Retriever

__all__ = ["Embedder", "EmbeddingRetriever", "FusedRetriever", "Retriever", "WordRetriever"]
