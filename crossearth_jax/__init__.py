"""CrossEarth in JAX/Flax: cross-domain remote-sensing semantic segmentation."""

__version__ = "0.1.0"
