"""What of a model is on this machine, and what is to do to get it; asks no server."""

from crossearth_jax.hub import cache
from crossearth_jax.hub.catalogue import Model
from crossearth_jax.hub.convert import is_converted
from crossearth_jax.hub.fetch import is_here, page


def state(model: Model) -> str:
    """In words: cached, to download, gated, by hand, or not known."""
    if is_converted(model):
        return "cached"
    if not model.files:
        return model.note
    if all(is_here(model, file) for file in model.files):
        return "downloaded"
    if model.page:
        return "by hand"
    if model.gated:
        return "gated"
    return f"to download; {model.note}" if model.note else "to download"


def access(model: Model) -> str:
    """How to get what no program can fetch without a person; "" for all others."""
    if model.page and model.files:
        places = ", ".join(str(cache.place_of(model, file)) for file in model.files)
        return f"{model.name}: from {model.page} to {places}"
    if model.gated:
        return f"{model.name}: accept the terms at {page(model)} and set HF_TOKEN"
    return ""


def size(model: Model) -> str:
    """Of all files, where it is published; "-" where it is not."""
    sizes = [file.bytes for file in model.files]
    if sizes and all(sizes):
        return f"{sum(filter(None, sizes)) / 1e6:.1f} MB"
    words = [file.about for file in model.files if file.about]
    return words[0] if len(words) == len(model.files) == 1 else "-"
