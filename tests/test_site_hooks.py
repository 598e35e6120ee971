"""Links written for files, turned to the pages of the site."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocs", reason="needs the extra docs")
pytest.importorskip("nbconvert", reason="needs the extra docs")

PLACE = Path(__file__).parents[1] / "docs" / "site_hooks.py"


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", PLACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("home", "page", "link", "found"),
    [
        ("README.md", "index.md", "docs/predict.md#tta", "predict.md#tta"),
        ("README.md", "index.md", "docs/images/demo.png", "images/demo.png"),
        ("README.md", "index.md", "docs/notebooks/a.ipynb", "notebooks/a.md"),
        ("README.md", "index.md", "SECURITY.md", "project/security.md"),
        ("README.md", "index.md", "pkg/a.py", "source/pkg/a.py"),
        ("docs/a.md", "a.md", "../SECURITY.md", "project/security.md"),
        ("docs/a.md", "a.md", "../README.md#x", "index.md#x"),
        ("docs/a.md", "a.md", "b.md", "b.md"),
        ("docs/launch/README.md", "launch/README.md", "../a.md", "../a.md"),
        ("docs/launch/README.md", "launch/README.md", "x.yaml", "x.yaml"),
        ("docs/notebooks/a.ipynb", "notebooks/a.md", "../a.md", "../a.md"),
        ("docs/notebooks/a.ipynb", "notebooks/a.md", "b.ipynb", "b.md"),
        ("docs/a.md", "a.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("docs/a.md", "a.md", "#here", "#here"),
    ],
)
def test_links_lead_to_pages(hooks, home, page, link, found):
    assert hooks.relinked(f"[x]({link})", home, page) == f"[x]({found})"


def test_forgotten_pages_are_listed(hooks, tmp_path):
    for name in ("a.md", "b.md", "c/README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# x")
    config = SimpleNamespace(
        docs_dir=tmp_path, nav=["a.md", {"C": [{"d": "c/README.md"}]}]
    )
    assert hooks.on_config(config).nav[-1] == {"More": ["b.md"]}


@pytest.mark.parametrize(
    "loads", ['<script src="https://a.org/x.js">', '<img src="http://a.org/x.png">']
)
def test_a_page_that_loads_from_elsewhere_is_refused(hooks, loads):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    good = '<a href="https://a.org">x</a><link rel="canonical" href="https://a.org">'
    assert hooks.on_post_page(good, page, None) == good
    with pytest.raises(hooks.PluginError, match=r"a\.md loads http"):
        hooks.on_post_page(good + loads, page, None)
