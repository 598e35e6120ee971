"""Where curves, scores and pictures of a run go besides metrics.jsonl."""
