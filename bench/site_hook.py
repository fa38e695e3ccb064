"""What mkdocs does beside its pages: each page's Markdown beside it, and all of them in one file.

``llms.txt`` (https://llmstxt.org) links to these; ``llms-full.txt`` is for models that read all.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation

_PAGES: list[Path] = []
"""The sources of the pages in the order of the navigation, since mkdocs was started."""


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:  # noqa: ARG001
    """Note what there is to copy."""
    _PAGES[:] = [Path(page.file.src_uri) for page in nav.pages]
    return nav


def on_post_build(config: MkDocsConfig) -> None:
    """Write the Markdown into the site."""
    docs, site = Path(config.docs_dir), Path(config.site_dir)
    texts = []
    for page in _PAGES:
        text = (docs / page).read_text(encoding="utf-8")
        (site / page).write_text(text, encoding="utf-8")
        texts.append(f"<!-- {page} -->\n\n{text}")
    (site / "llms-full.txt").write_text("\n".join(texts), encoding="utf-8")
