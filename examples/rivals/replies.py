"""What small models write when they are asked for JSON, read as far as it goes."""

import json
from typing import Any


def read_json(text: str) -> Any:
    """The first JSON object or list in a text, whatever stands around it; None: there is none."""
    decoder = json.JSONDecoder()
    for start, character in enumerate(text):
        if character in "{[":
            try:
                return decoder.raw_decode(text, start)[0]
            except (ValueError, RecursionError):
                continue
    return None
