"""``python -m bench.pictures``: photograph the review desk for the documentation.

A memory with the lessons of a made-up support desk (`bench.desk_scene`), in Debian's Chromium, at
the width of a laptop and of a phone. Needs ``chromium`` and the extra ``dev``.
"""

import asyncio
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from bench.desk_scene import PROPOSED, play
from ted_memory import open_memory
from ted_memory.models import ExperienceSet

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
NAMESPACE = "support"
COLOURS = 256  # of a picture; nobody sees the difference, and the file is a third
LAPTOP, TALL, PHONE = (1280, 860), (1280, 1220), (390, 844)


async def seed(home: str) -> ExperienceSet:
    """Fill a memory in this folder; gives its set."""
    async with open_memory(home=home, namespace=NAMESPACE) as memory:
        await play(memory)
        return await memory.load()


def pages(now: ExperienceSet) -> Mapping[str, tuple[str, tuple[int, int], str]]:
    """Say what is photographed: address, size, and light or dark, by the picture's name."""
    by_text = {e.text: e.id for e in now}
    opened = by_text[PROPOSED[0].text]
    trial = now.trial[0].id
    question = "/playground?q=My+parcel+is+late,+and+I+cannot+sign+in+to+see+where+it+is"
    return {
        "desk-inbox": (f"/?at={opened}", LAPTOP, "light"),
        "desk-inbox-phone": (f"/?at={opened}", PHONE, "light"),
        "desk-lesson": (f"/lessons/{trial}", TALL, "light"),
        "desk-set": ("/set", LAPTOP, "light"),
        "desk-playground": (question, LAPTOP, "light"),
        "desk-versions": ("/versions", LAPTOP, "light"),
        "desk-health": ("/health", LAPTOP, "dark"),
    }


def photograph(link: str, wanted: Mapping[str, tuple[str, tuple[int, int], str]]) -> None:
    """Open the desk by its link, and write a picture of each page."""
    from playwright.sync_api import sync_playwright

    base = link.partition("/enter")[0]
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=shutil.which("chromium"))
        first = browser.new_context()
        first.new_page().goto(link)
        signed_in: Any = first.storage_state()
        for name, (path, (width, height), scheme) in wanted.items():
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                storage_state=signed_in,
            )
            page = context.new_page()
            page.goto(base + path)
            page.wait_for_load_state("networkidle")
            _write(PICTURES / f"{name}.png", page.screenshot())
        browser.close()


def _write(path: Path, png: bytes) -> None:
    """Keep a picture in fewer bytes: a browser writes it fast, and not small."""
    with Image.open(io.BytesIO(png)) as picture:
        few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE)
        few.save(path, optimize=True)


def main() -> None:
    """Serve the scene, and photograph it."""
    with tempfile.TemporaryDirectory() as home:
        wanted = pages(asyncio.run(seed(home)))
        command = [sys.executable, "-m", "ted_memory", "desk", "--home", home, "--port", "0"]
        command += ["--namespace", NAMESPACE, "--author", "anna"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as desk:
            try:
                assert desk.stderr is not None
                photograph(desk.stderr.readline().removeprefix("open ").strip(), wanted)
            finally:
                desk.terminate()


if __name__ == "__main__":
    main()
