"""`crossearth models`: released weights that have a name, and which are here."""

import argparse
from collections.abc import Sequence

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.hub import cache
from crossearth_jax.hub.catalogue import Model, models
from crossearth_jax.hub.fetch import origin
from crossearth_jax.hub.state import access, size, state
from crossearth_jax.report.table import Section, Table

HEADER = ("name", "what", "belongs to", "size", "licence", "from", "state")
ALIGN = "lllrlll"
DIGESTS = (
    "Digests are checked where they are published, and those that the hub gives with a "
    "file. Else the digest of the first download is kept, and later ones are compared."
)


def main(argv: Sequence[str]) -> int:
    """`crossearth models [--format FORMAT]`."""
    parser = make_parser(
        "crossearth models",
        "Lists released weights by the names that `download`, backbone.weights, "
        "style.weights,\ntrain.init and `predict` take.",
    )
    formats = ("terminal", "markdown", "csv")
    parser.add_argument(
        "--format", choices=formats, default=formats[0], help=f"default: {formats[0]}"
    )
    return guarded(run, parser.parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Prints the table."""
    listed = table(list(models().values()))
    if options.format == "terminal":
        listed.show()
    elif options.format == "markdown":
        print(listed.as_markdown())
    else:
        print(listed.as_csv())


def table(found: Sequence[Model]) -> Table:
    """The models, ready to show."""
    notes = [DIGESTS, f"The cache is {cache.folder()} ({cache.PLACE})."]
    notes += [text for text in map(access, found) if text]
    return Table(HEADER, ALIGN, [Section([row(each) for each in found])], notes=notes)


def row(model: Model) -> tuple[str, ...]:
    """The cells of a model, as `HEADER`."""
    return (
        *(model.name, model.about, ", ".join(model.settings), size(model)),
        *(model.licence, origin(model), state(model)),
    )
