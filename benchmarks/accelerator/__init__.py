"""What the run's own functions compile to for an accelerator that is not there."""
