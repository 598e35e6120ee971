"""One file per command of `crossearth`."""
