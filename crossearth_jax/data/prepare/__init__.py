"""From the raw archives of the benchmark's data sets to folders that train and score.

`crossearth prepare NAME --raw DIR --out DIR`; what is read and written: docs/data.md.
"""
