"""Rules for the layers of which every mapping table is made."""

from weights_convert.mapping import Rule, rule
from weights_convert.transforms import CONV, LINEAR


def linear(source: str, target: str) -> list[Rule]:
    """`torch.nn.Linear` to `nnx.Linear`, with bias."""
    return [
        rule(f"{source}.weight", f"{target}.kernel", LINEAR),
        rule(f"{source}.bias", f"{target}.bias"),
    ]


def conv(source: str, target: str, *, bias: bool) -> list[Rule]:
    """`torch.nn.Conv2d` to `nnx.Conv`."""
    kernel = rule(f"{source}.weight", f"{target}.kernel", CONV)
    return [kernel, rule(f"{source}.bias", f"{target}.bias")] if bias else [kernel]


def norm(source: str, target: str) -> list[Rule]:
    """LayerNorm or GroupNorm."""
    return [
        rule(f"{source}.weight", f"{target}.scale"),
        rule(f"{source}.bias", f"{target}.bias"),
    ]


def attention(source: str, target: str) -> list[Rule]:
    """`torch.nn.MultiheadAttention` to `MultiHeadAttention`."""
    parts = ("query", "key", "value")
    return [
        rule(
            f"{source}.in_proj_weight",
            tuple(f"{target}.{part}.kernel" for part in parts),
            LINEAR,
        ),
        rule(
            f"{source}.in_proj_bias", tuple(f"{target}.{part}.bias" for part in parts)
        ),
        *linear(f"{source}.out_proj", f"{target}.out"),
    ]
