"""Links hold where pages are read as files, and what is repeated is the same."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def text_of(path):
    """Markdown of a page, of a notebook its text, without code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
        text = "\n\n".join(texts)
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """Anchors of a page's headings, as GitHub and mkdocs make them of plain words."""
    heads = re.findall(r"^#+ +(.+?) *$", text_of(path), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", head.lower()).strip() for head in heads]
    return {f"#{re.sub(r' +', '-', one)}" for one in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page):
    for link, anchor in LINK.findall(text_of(page)):
        target = (page.parent / link).resolve() if link else page
        assert target.is_file(), f"{link} is no file"
        assert target.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(target), f"{link}{anchor} is no heading"


def test_readme_has_its_two_commands_and_a_small_picture():
    lines = re.findall(r"^```\n(.*?)\n```", README, re.DOTALL | re.MULTILINE)
    assert lines[:2] == [
        "pip install -e . && python -m crossearth_jax.main --config configs/demo.py",
        "pip install -e '.[test]' && python -m pytest",
    ]
    assert (DOCS / "images" / "demo.png").stat().st_size < 150_000


def test_the_navigation_has_every_page_once():
    listed = re.findall(
        r"^ +- .*?: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M
    )
    assert len(listed) == len(set(listed))
    made = {
        "index.md",
        *(p for p in listed if p.startswith(("project/", "notebooks/"))),
    }
    missing = [name for name in set(listed) - made if not (DOCS / name).is_file()]
    assert not missing


def steps(target):
    """Instructions of a stage of the Dockerfile, continued lines joined."""
    text = DOCKERFILE.replace("\\\n", " ")
    (stage,) = re.findall(
        rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM|\Z)", text, re.S | re.M
    )
    return re.findall(r"^([A-Z]+) (.+)$", stage, re.M)


def installs(text):
    return re.findall(r"pip install (?:--no-cache-dir )?-e ('\.\[[a-z,]+\]')", text)


def test_the_containers_steps_are_those_of_the_pages():
    clone = dict(steps("clone"))
    command = json.loads(clone["CMD"])
    assert f"pip install -e . && {' '.join(command)}\n" in README
    assert clone["USER"] != "root" and clone["WORKDIR"] == "/crossearth"
    page = (DOCS / "containers.md").read_text()
    for target in ("cpu", "cuda", "tpu"):
        (install,) = installs(str(steps(target)).replace('\\"', '"'))
        assert f"| `{target}` | `pip install -e {install}` |" in page
    assert installs(str(steps("cpu")))[0] in README


def test_the_containers_know_their_extras_python_and_targets():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {one for each in installs(DOCKERFILE) for one in each[3:-2].split(",")}
    assert extras and extras <= set(project["optional-dependencies"])
    (python,) = re.findall(r"^FROM python:([\d.]+)-slim", DOCKERFILE, re.M)
    assert project["requires-python"] == f">={python}"
    targets = set(re.findall(r"^FROM \S+ AS (\w+)", DOCKERFILE, re.M))
    named = [p.read_text() for p in (DOCS / "launch").glob("*.yaml")]
    named = [
        t for text in named for t in re.findall(r"docker build --target (\w+)", text)
    ]
    assert named and set(named) <= targets


def test_no_secret_and_no_data_enters_an_image():
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "runs", "data", "**/.env", "**/*.safetensors"} <= set(
        ignored
    )
    assert not re.search(r"(?i)token|password|secret|api_key", DOCKERFILE)


def test_the_site_loads_nothing_from_other_hosts_by_its_settings():
    settings = re.sub(r"!!python\S+", "", (ROOT / "mkdocs.yml").read_text())
    theme = yaml.safe_load(settings)["theme"]
    assert theme["font"] is False and theme["name"] == "material"
