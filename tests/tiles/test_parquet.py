"""GeoParquet that unpacks to far more than it has on the disk."""

import numpy as np
import pytest

from crossearth_jax.tiles import parquet


@pytest.mark.parametrize("kind", ["rows", "values"])
def test_a_table_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch, kind):
    pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    import pyarrow as pa

    one = pa.DictionaryArray.from_arrays(np.zeros(200, np.int32), [b"x" * 1_000])
    pq.write_table(pa.table({"geometry": one}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 5_000
    parquet.check_parquet(tmp_path / "a.parquet")  # 200 kB
    limit = {"rows": "MAX_ROWS", "values": "MAX_BYTES"}[kind]
    monkeypatch.setattr(parquet, limit, 199 if kind == "rows" else 199_000)
    with pytest.raises(ValueError, match=r"got 200 rows of .* to a GeoPackage"):
        parquet.check_parquet(tmp_path / "a.parquet")
