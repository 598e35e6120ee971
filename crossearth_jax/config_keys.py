"""What every configuration key means, read from the comments of `config.py`."""

import ast
import inspect
import io
import re
import shutil
import textwrap
import tokenize
from collections.abc import Iterator

from crossearth_jax import config

INDENT = 26  # columns of a key in the listing


def meanings() -> dict[str, str]:
    """The comment of each key, such as {"train.fsdp": "devices that share …"}.

    A comment beside a key belongs to it, and so do the lines of comment above it.
    """
    source = inspect.getsource(config)
    comments = _comments(source)
    return {key: _text(comments, line) for key, line in _lines_of_keys(source)}


def listing() -> str:
    """All keys by section, with defaults and meanings, as wide as the terminal."""
    width = shutil.get_terminal_size().columns
    defaults = dict(config.flattened(config.default().to_dict()))
    shown = ["configuration keys, set with --config.KEY=VALUE; [default] meaning:", ""]
    section = ""
    for key, meaning in meanings().items():  # in the order of config.py
        head = key.rpartition(".")[0]
        if head != section:
            section = head
            shown += ["", f"{head}: {_title(head)}"]
        shown += _entry(key, f"[{defaults[key]!r}] {meaning}", width)
    return "\n".join(shown)


def _entry(key: str, text: str, width: int) -> list[str]:
    """A key and its meaning in two columns, as argparse shows options."""
    lines = textwrap.wrap(text, max(width - INDENT, 20))
    first = f"  {key}"
    if len(first) > INDENT - 2:
        return [first, *(" " * INDENT + line for line in lines)]
    return [first.ljust(INDENT) + lines[0], *(" " * INDENT + x for x in lines[1:])]


def _title(section: str) -> str:
    """The first line of the function that makes a section."""
    words = inspect.getdoc(getattr(config, f"_{section}")) or ""
    return re.sub(r"(; sections? .*)?\.$", "", words.splitlines()[0])


def _lines_of_keys(source: str) -> Iterator[tuple[str, int]]:
    """(key, line) of `config.KEY = …` in `default`, and of the sections' dictionaries.

    Sections are what `default` gets from functions of their names, `_data()` and so on.
    """
    bodies = ast.parse(source).body
    functions = {f.name: f for f in bodies if isinstance(f, ast.FunctionDef)}
    for node in functions["default"].body:
        match node:
            case ast.Assign(
                targets=[ast.Attribute(attr=section)],
                value=ast.Call(func=ast.Name(id=name)),
            ) if name == f"_{section}":
                for part in ast.walk(functions[name]):
                    if isinstance(part, ast.Dict):
                        keys = (k for k in part.keys if isinstance(k, ast.Constant))
                        yield from ((f"{section}.{k.value}", k.lineno) for k in keys)
            case ast.Assign(targets=[ast.Attribute(attr=key)]):
                yield key, node.lineno


def _comments(source: str) -> dict[int, tuple[bool, str]]:
    """Comments by line, and whether a comment has its line for itself."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            found[token.start[0]] = alone, token.string.lstrip("# ")
    return found


def _text(comments: dict[int, tuple[bool, str]], line: int) -> str:
    """The lines of comment above a line, and the comment in it."""
    words, above = [], line - 1
    while comments.get(above, (False, ""))[0]:
        words.insert(0, comments[above][1])
        above -= 1
    if line in comments:
        words.append(comments[line][1])
    return re.sub(r"\s+", " ", " ".join(words)).strip().rstrip(".")
