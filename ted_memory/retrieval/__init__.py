"""Which experiences fit a question: by words in many languages, by embeddings, by both, or by a retriever of your own.

``open_memory(embeddings=...)`` or ``open_memory(retriever=FusedRetriever(WordRetriever("de"),
MyRetriever()))``.
"""

from ted_memory.retrieval.bm25 import WordRetriever
from ted_memory.retrieval.embeddings import EmbeddingRetriever
from ted_memory.retrieval.fusion import FusedRetriever
from ted_memory.retrieval.protocol import Retriever

__all__ = ["EmbeddingRetriever", "FusedRetriever", "Retriever", "WordRetriever"]
