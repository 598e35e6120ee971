"""A run on disk: kept alive, sealed, read back."""
