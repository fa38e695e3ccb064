"""Real pictures for the tests of data sets, and a model that sees."""

import base64
import io
from collections.abc import Mapping

from langchain_core.messages import BaseMessage
from PIL import Image

COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}


def picture(colour: str, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), COLOURS[colour]).save(out, kind)
    return out.getvalue()


def data_url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def seen_colours(messages: list[BaseMessage]) -> list[str]:
    """Decode the pictures of a call, as a model's server would, and name the colour of each."""
    found = []
    for message in messages:
        for block in message.content if isinstance(message.content, list) else []:
            if isinstance(block, Mapping) and block["type"] == "image":
                with Image.open(
                    io.BytesIO(base64.b64decode(block["base64"], validate=True))
                ) as image:
                    assert Image.MIME[str(image.format)] == block["mime_type"]
                    pixel = image.convert("RGB").getpixel((4, 4))
                # JPEG keeps colours only nearly
                near = [
                    name
                    for name, rgb in COLOURS.items()
                    if all(abs(a - b) < 9 for a, b in zip(pixel, rgb, strict=True))
                ]
                found += near or [f"none of ours: {pixel}"]
    return found
