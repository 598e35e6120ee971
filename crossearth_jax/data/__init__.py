"""Where images and labels enter: sources, transforms and the Grain pipeline."""
