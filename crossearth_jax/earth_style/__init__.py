"""Earth-style injection: styled and masked training images (method §6, paper §3.2)."""
