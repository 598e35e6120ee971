"""The page's own style and script, and what a browser may run and load beside them."""

import base64
import hashlib
from importlib.resources import files


def asset(name: str) -> str:
    """Text of a file of this folder, such as "page.css"."""
    return files("crossearth_jax.report").joinpath(name).read_text(encoding="utf-8")


def content_policy(style: str, script: str) -> str:
    """A Content-Security-Policy: this style, this script, pictures in the page.

    Attributes may hold styles: they are sizes, shares and colours, made of numbers.
    """
    rules = (
        "default-src 'none'",
        "img-src data:",
        f"script-src {_hash(script)}",
        f"style-src {_hash(style)}",
        f"style-src-elem {_hash(style)}",
        "style-src-attr 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(rules)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
