"""What a GeoParquet file would take, as it is read whole."""

from pathlib import Path
from typing import Any

from crossearth_jax.system import extras

MAX_ROWS = 2_000_000
MAX_BYTES = 128 * 2**20  # of all values; a million houses in degrees


def check_parquet(path: Path) -> None:
    """Refuses a file whose table is too large.

    Raises:
      ValueError: it is; does not name the file.
      Exception: of pyarrow, if it is no Parquet.
    """
    pc = extras.needed("pyarrow.compute", "GeoParquet", "parquet")
    pq = extras.needed("pyarrow.parquet", "GeoParquet", "parquet")
    with pq.ParquetFile(path) as file:
        about, schema = file.metadata, file.schema_arrow
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    _check(about.num_rows, size)
    # A file keeps equal values once; in memory each row has its own.
    texts = [field.name for field in schema if _is_text(field.type)]
    table = pq.read_table(path, columns=texts, read_dictionary=texts)
    for part in (part for column in table.columns for part in column.chunks):
        lengths = pc.binary_length(part.dictionary).take(part.indices)
        size += pc.sum(lengths).as_py() or 0
        _check(about.num_rows, size)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    of = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        is_one(of)
        for is_one in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )


def _check(rows: int, size: int) -> None:
    if rows > MAX_ROWS or size > MAX_BYTES:
        raise ValueError(
            f"got {rows:,} rows of {size:,} bytes or more, expected at most "
            f"{MAX_ROWS:,} of {MAX_BYTES:,}, since GeoParquet is read whole: convert "
            "it to a GeoPackage"
        )
