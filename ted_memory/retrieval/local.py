"""Embeddings on this machine, without a server or a GPU: ``retrieval="local"``.

They are the static vectors in the wheel of `wordllama` (16 MB); a text takes about 0.1 ms. Only
the package's two data files are read. It is not imported, since its import configures the program's
logging.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings

from ted_memory.errors import MissingExtra

MODEL = "l2_supercat_256"
_WEIGHTS = f"weights/{MODEL}.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class LocalEmbeddings(Embeddings):
    """Embeds a text as the mean of its tokens' vectors. Works offline.

    Made for English; other languages as far as it knows their words.

    Raises:
        MissingExtra: the extra ``ted-memory[embeddings]`` is not installed.
    """

    def __init__(self) -> None:
        self.model = MODEL
        _folder()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text; zeros for one without a token."""
        tokenizer, tokens = _load()
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if not ids:
            return [0.0] * int(tokens.shape[1])
        vector: list[float] = tokens[ids].mean(axis=0).tolist()
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts, on the event loop: a thread would take longer."""
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a text, on the event loop."""
        return self.embed_query(text)


def _folder() -> Path:
    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("wordllama", "embeddings", "retrieval='local'")
    return Path(found.submodule_search_locations[0])


@cache  # 33 MB, once in a process
def _load() -> tuple[Any, Any]:
    import numpy as np
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = _folder()
    tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    weights = load_file(folder / _WEIGHTS)["embedding.weight"]
    return tokenizer, weights.astype(np.float32)
