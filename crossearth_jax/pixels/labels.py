"""Class ids of pixels."""

IGNORE = 255  # the class id of pixels that count nowhere
