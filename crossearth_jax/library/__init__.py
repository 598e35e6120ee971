"""What `import crossearth_jax` offers: a run as an object, and scores of its maps."""
