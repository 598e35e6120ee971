"""The training step of the PyTorch peer: losses, matching by SciPy, AdamW.

Names as in `peer_torch`; n points of a loss. The random numbers of a step come as
`Draws`, so that both sides can be given the same ones.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from benchmarks.peer_torch import CrossEarth
from crossearth_jax.losses.segmentation import SegmentationLoss
from crossearth_jax.pixels.imagenet import IMAGENET_MEAN, IMAGENET_STD


class Draws(NamedTuple):
    """Random numbers of one step, as `losses.segmentation.LossPoints` has them.

    Attributes:
      altered: [B, H, W], True where X_M shows the prompt.
      match: [P, B, n, 2], points of the matching cost.
      candidates: [P, B, K, n3, 2], points among which the uncertain ones are chosen.
      extra: [P, B, K, nr, 2], random points added to them.
    """

    altered: Tensor
    match: Tensor
    candidates: Tensor
    extra: Tensor


def draw(
    shape: Sequence[int],
    side: int,
    loss: SegmentationLoss,
    ratio: float,
    block: int,
    device: str = "cpu",
) -> Draws:
    """Draws for (P, B, K) and images of a side that whole blocks fill."""
    blocks, chosen = side // block, int(loss.importance * loss.num_points)

    def points(*sizes: int) -> Tensor:
        return torch.rand(*sizes, 2, device=device)

    grid = torch.rand(shape[1], 1, blocks, blocks, device=device) <= ratio
    return Draws(
        altered=functional.interpolate(grid.float(), (side, side))[:, 0].bool(),
        match=points(*shape[:2], loss.num_points),
        candidates=points(*shape, int(loss.oversample * loss.num_points)),
        extra=points(*shape, loss.num_points - chosen),
    )


def normalise(image: Tensor) -> Tensor:
    """[B, H, W, 3] of 0 to 255 to [B, 3, H, W]."""
    mean = torch.tensor(IMAGENET_MEAN, device=image.device)
    std = torch.tensor(IMAGENET_STD, device=image.device)
    return ((image.float() - mean) / std).permute(0, 3, 1, 2).contiguous()


def step_losses(
    model: CrossEarth,
    image: Tensor,
    label: Tensor,
    draws: Draws,
    loss: SegmentationLoss,
) -> dict[str, Tensor]:
    """L_Seg and L_MIM (mean squared error) of images [B, H, W, 3] and labels.

    X and X_M go through the backbone in one call.
    """
    clean = normalise(image)
    prompt = model.prompt.permute(2, 0, 1)
    masked = torch.where(draws.altered[:, None], prompt, clean)
    taps = [tap.chunk(2) for tap in model.taps(torch.cat([clean, masked]))]
    classes, masks = model.segment([tap[0] for tap in taps], clean)
    rebuilt = model.mim_decoder([tap[1] for tap in taps])
    seg = sum(
        prediction_loss(
            classes[p].float(),
            masks[p].float(),
            label,
            Draws(draws.altered, *(x[p] for x in draws[1:])),
            loss,
        )
        for p in range(len(classes))
    )
    mim = functional.mse_loss(rebuilt.float(), clean)
    return {"seg": seg, "mim": mim, "loss": seg + mim}


def prediction_loss(
    classes: Tensor, masks: Tensor, label: Tensor, draws: Draws, loss: SegmentationLoss
) -> Tensor:
    """Weighted class, mask and Dice losses of one prediction of all images.

    Args:
      classes: [B, Q, K + 1].
      masks: [B, Q, h, w].
      label: [B, H, W], whole numbers; those from K on belong to no mask.
      draws: of this prediction.
      loss: weights and sampling.
    """
    count = classes.shape[-1] - 1  # K, which also stands for "no object"
    wanted = torch.full(classes.shape[:2], count, device=classes.device)
    matched, truths, candidates, extra, masks_in_all = [], [], [], [], 0
    for b, image_label in enumerate(label):
        present = [int(k) for k in image_label.unique() if k < count]
        masks_in_all += max(len(present), 1)
        if not present:
            continue
        truth = torch.stack([image_label == k for k in present]).float()
        with torch.no_grad():
            share = classes[b].softmax(-1)[:, present]
            cost = matching_cost(share, masks[b], truth, draws.match[b], loss)
        rows, columns = linear_sum_assignment(cost.cpu().numpy())
        chosen = [present[column] for column in columns]
        wanted[b, rows] = torch.tensor(chosen, device=wanted.device)
        matched.append(masks[b][rows])
        truths.append(truth[columns])
        candidates.append(draws.candidates[b][chosen])
        extra.append(draws.extra[b][chosen])
    weight = torch.ones(count + 1, device=classes.device)
    weight[-1] = loss.no_object
    entropy = functional.cross_entropy(classes.transpose(1, 2), wanted, weight)
    if not matched:
        return loss.class_weight * entropy
    logits, truth = torch.cat(matched)[:, None], torch.cat(truths)[:, None]
    points = uncertain_points(logits, torch.cat(candidates), torch.cat(extra), loss)
    logits, truth = sample(logits, points)[:, 0], sample(truth, points)[:, 0]
    bce = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    share = logits.sigmoid()
    dice = 1 - (2 * (share * truth).sum(-1) + 1) / (share.sum(-1) + truth.sum(-1) + 1)
    return (
        loss.class_weight * entropy
        + loss.mask_weight * bce.mean(-1).sum() / masks_in_all
        + loss.dice_weight * dice.sum() / masks_in_all
    )


def matching_cost(
    share: Tensor, masks: Tensor, truth: Tensor, points: Tensor, loss: SegmentationLoss
) -> Tensor:
    """Cost [Q, M] of giving each of M present classes to each query.

    Args:
      share: [Q, M], softmax of the present classes.
      masks: [Q, h, w], logits.
      truth: [M, H, W].
      points: [n, 2].
      loss: weights.
    """
    logits = sample(masks[None], points[None])[0]  # [Q, n]
    truth = sample(truth[None], points[None])[0]  # [M, n]
    positive, negative = functional.softplus(-logits), functional.softplus(logits)
    bce = (positive @ truth.T + negative @ (1 - truth).T) / len(points)
    chance = logits.sigmoid()
    total = chance.sum(-1)[:, None] + truth.sum(-1)
    dice = 1 - (2 * chance @ truth.T + 1) / (total + 1)
    return loss.mask_weight * bce + loss.dice_weight * dice - loss.class_weight * share


@torch.no_grad()
def uncertain_points(
    logits: Tensor, candidates: Tensor, extra: Tensor, loss: SegmentationLoss
) -> Tensor:
    """[M, n, 2]: of the candidates those with logits nearest to 0, and the extra."""
    uncertain = sample(logits, candidates)[:, 0].abs()
    keep = loss.num_points - extra.shape[1]
    order = uncertain.topk(keep, largest=False).indices
    chosen = candidates.gather(1, order[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, extra], 1)


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """[M, C, h, w] at points [M, n, 2] in [0, 1]: [M, C, n]."""
    grid = 2 * points[:, None] - 1
    return functional.grid_sample(maps, grid, align_corners=False)[:, :, 0]


def make_optimiser(
    model: CrossEarth, decays: Callable[[str], bool], lr: float
) -> torch.optim.AdamW:
    """AdamW over all that trains, with the weight decay of 0.05 where `decays`."""
    groups: dict[bool, list] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[decays(name)].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": params, "weight_decay": 0.05 * decaying}
            for decaying, params in groups.items()
        ],
        lr=lr,
    )
