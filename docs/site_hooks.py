"""What the site has beside the pages of this folder; mkdocs calls it.

README is the first page, notebooks are pages, and so are a few files of the project's
root. Links are written for those who read files; here they lead to the same things in
the site, where a linked file of the source becomes a copy under source/.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
LOADED = re.compile(
    r"<(script|img|iframe|link(?![^>]*canonical))\b[^>]*"
    r"""\b(?:src|href)=["'](https?:[^"']*)"""
)
# A link's target in a project's own file, without its anchor.
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)[^)#\s]+(?=(#[^)\s]*)?\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts pages that the navigation does not have under "More"."""
    docs, listed = Path(config.docs_dir), set(_listed(config.nav))
    found = [path.relative_to(docs).as_posix() for path in sorted(docs.rglob("*.md"))]
    if more := [name for name in found if name not in listed]:
        config.nav = [*(config.nav or []), {"More": more}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what is not in this folder, and turns all links to it."""
    for name, target in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=text))
    for notebook in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        for name, content in _converted(notebook):
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    homes = {target: name for name, target in PAGES.items()}
    for page in files.documentation_pages():
        home = homes.get(page.src_uri, f"docs/{page.src_uri}")
        page.content_string = relinked(page.content_string, home, page.src_uri)
        for linked in _copies(page):
            source = ROOT / linked.removeprefix("source/")
            if source.is_file() and linked not in files.src_uris:
                copy = File.generated(config, linked, abs_src_path=str(source))
                files.append(copy)
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuses what a browser would load from another host.

    Raises:
      PluginError: there is some.
    """
    if found := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads {found[2]}: keep a copy here")
    return output


def relinked(text: str, home: str, page: str) -> str:
    """Markdown whose links hold in the site.

    Args:
      text: with links between files of the project.
      home: path of the file in the project.
      page: of the page in the site.
    """

    def turned(link: re.Match[str]) -> str:
        place = _joined(home, link[0])
        if place in PAGES:
            target = PAGES[place]
        elif place.startswith("docs/"):
            target = re.sub(r"\.ipynb$", ".md", place.removeprefix("docs/"))
        else:
            target = f"source/{place}"
        return posixpath.relpath(target, posixpath.dirname(page) or ".")

    return LINK.sub(turned, text)


def _copies(page: File) -> Iterator[str]:
    """Places under source/ that a page links to."""
    for link in LINK.finditer(page.content_string):
        place = _joined(page.src_uri, link[0])
        if place.startswith("source/"):
            yield place


def _joined(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _converted(notebook: Path) -> Iterator[tuple[str, str | bytes]]:
    """A notebook as a page and the pictures in it, by name."""
    folder = f"{notebook.stem}_files"
    text, resources = MarkdownExporter().from_filename(
        str(notebook), resources={"output_files_dir": folder, "unique_key": "picture"}
    )
    yield f"{notebook.stem}.md", text
    yield from resources["outputs"].items()


def _listed(nav: Any) -> Iterator[str]:
    """All pages of a navigation."""
    if isinstance(nav, str):
        yield nav
        return
    for part in nav.values() if isinstance(nav, dict) else nav or ():
        yield from _listed(part)
