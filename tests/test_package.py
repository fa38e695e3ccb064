"""What is built for a package index."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def dead_links(text: str) -> list[str]:
    """Return the targets that lead nowhere from a page without files beside it."""
    return [
        target for target in LINK.findall(text) if not target.startswith(("https://", "http://"))
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the archives of this version."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def metadata(folder: Path, kind: str) -> str:
    """Return the metadata of the wheel, or of the source archive."""
    if kind == "wheel":
        [path] = folder.glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
            return wheel.read(name).decode()
    [path] = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        file = archive.extractfile(path.name.removesuffix(".tar.gz") + "/PKG-INFO")
        assert file is not None
        return file.read().decode()


@pytest.mark.parametrize("kind", ["wheel", "source archive"])
def test_the_description_of_a_package_has_no_dead_links(built: Path, kind: str) -> None:
    told = message_from_string(metadata(built, kind))
    description = str(told.get_payload())
    assert told["Description-Content-Type"] == "text/markdown"
    assert dead_links(description) == []
    pictures = re.findall(r"^!\[(.*)\]", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [told_of for told_of in pictures if told_of in description] == [], "gone with its words"
    assert pictures != []
    assert "https://arxiv.org/abs/2603.26778" in LINK.findall(description), "other links stay"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert description.strip().splitlines()[-1].startswith("The files that this page names")
    assert len(description.splitlines()) > 0.9 * len(readme.splitlines())


def test_the_wheel_holds_what_the_desk_serves(built: Path) -> None:
    [path] = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        packed = set(wheel.namelist())
    web = ROOT / "ted_memory" / "web"
    served = [*web.glob("templates/*"), *web.glob("static/*")]
    assert len(served) > 10
    assert {str(file.relative_to(ROOT)) for file in served} <= packed


def test_readme_itself_has_links_to_files_beside_it() -> None:
    """The control: without what the build replaces they would be found."""
    assert len(dead_links((ROOT / "README.md").read_text(encoding="utf-8"))) > 10
