"""Released weights by name: what there is, fetched, checked, kept and converted."""
