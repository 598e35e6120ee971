r"""What comes from a file, made harmless for the place where it is shown.

Names of classes, domains, tensors and files come from strangers. Nothing of theirs
reaches a terminal, a page, a table or an XML file but through one of these functions.
All of them show control characters as escapes (`\x1b`), also those that turn the
direction of text round, so that what is shown is what is there.
"""

import html
import re
import reprlib

CELL = 200  # characters of a name
LINE = 4_000  # characters of an error message, which may list several files
PROGRAM = 250  # of a value that a message quotes
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how spreadsheets know a formula

# C0 and C1, DEL, what joins or turns text (soft hyphen, zero width, bidirectional),
# line and paragraph separators, surrogates, byte order mark, non-characters and tags.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
_MARKDOWN = re.compile(r"([\\`*\[\]<|])")
_FIGURE = re.compile(r"[-+]?[0-9][0-9.,]*(e[-+][0-9]+)?( ± [0-9.]+)?|-")


def terminal(text: object, limit: int = CELL, *, lines: bool = False) -> str:
    """Text for a terminal or a log.

    Args:
      text: anything; shown as `str` has it.
      limit: characters; of what is longer the middle is left out.
      lines: keep line breaks, as messages have them.
    """
    text = cut(str(text), limit)
    if lines:
        return cut("\n".join(map(_visible, text.split("\n"))), limit)
    return cut(_visible(text), limit)


def html_text(text: object, limit: int | None = None) -> str:
    """Text for an HTML page, between tags or in a quoted attribute.

    Args:
      text: anything.
      limit: characters; None keeps all, line breaks too.
    """
    if limit is None:
        return html.escape(terminal(text, 10 * len(str(text)) + 1, lines=True))
    return html.escape(terminal(text, limit))


def markdown_cell(text: object, limit: int = CELL) -> str:
    """Text for a cell of a Markdown table: one line, nothing of it is markup."""
    return _MARKDOWN.sub(r"\\\1", terminal(text, limit))


def csv_cell(text: object, limit: int = CELL) -> str:
    """Text for a cell of a CSV file; what a spreadsheet would compute gets a quote.

    Figures stay figures.
    """
    shown = terminal(text, limit)
    computes = str(text).startswith(FORMULA) and not _FIGURE.fullmatch(shown)
    return f"'{shown}" if computes else shown


def xml_text(text: object, limit: int = CELL) -> str:
    """Text for an XML element or attribute; XML has no control characters."""
    return html.escape(terminal(text, limit))


def quoted(value: object, limit: int = PROGRAM) -> str:
    """`repr` for messages, bounded whatever the value holds."""
    return cut(_SHORT.repr(value), limit)


def error_line(error: BaseException) -> str:
    """What a command prints of an error: bounded, control characters as escapes."""
    return terminal(error, LINE, lines=True)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters: beginning and end of what is longer."""
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[:half]}…{text[len(text) - (limit - 1 - half) :]}"


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


class _Bounded(reprlib.Repr):
    """Bounded in width, in depth, and for integers that Python refuses to print."""

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 256:
            return f"<an integer of {x.bit_length()} bits>"
        return repr(x)

    def repr_instance(self, x: object, level: int) -> str:
        if isinstance(x, int | float | complex | type(None)):
            return repr(x)
        return cut(super().repr_instance(x, level), self.maxother)


_SHORT = _Bounded()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = 8
_SHORT.maxfrozenset = _SHORT.maxdeque = 8
