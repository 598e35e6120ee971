"""What a run shows: tables and pictures of its scores."""
