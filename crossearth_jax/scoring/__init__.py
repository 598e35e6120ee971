"""From windows to counted pixels."""
