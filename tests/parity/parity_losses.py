"""Measured errors of matching, losses, gradients and the optimiser's steps.

The authors' random draws are recorded and fed to our losses, which take them as
arguments.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from parity_fixtures import (
    QUICK,
    converted,
    network,
    nhwc,
    ours,
    recorded,
    relative,
    settings,
    theirs,
)

from crossearth_jax.losses.matcher import matching_costs
from crossearth_jax.losses.segmentation import (
    LossPoints,
    SegmentationLoss,
    class_masks,
    segmentation_terms,
)
from crossearth_jax.models.parameters import dotted, undotted
from crossearth_jax.optim import adamw, decay_mask, learning_rate
from crossearth_jax.pixels.resample import sample_bilinear

TERMS = {"cls": "class", "mask": "mask", "dice": "dice"}


def loss_settings():
    """Our loss with the recorded model's options."""
    train, head = settings()["decode_head"]["train_cfg"], settings()["decode_head"]
    return SegmentationLoss(
        class_weight=head["loss_cls"]["loss_weight"],
        mask_weight=head["loss_mask"]["loss_weight"],
        dice_weight=head["loss_dice"]["loss_weight"],
        no_object=head["loss_cls"]["class_weight"][-1],
        num_points=train["num_points"],
        oversample=train["oversample_ratio"],
        importance=train["importance_sample_ratio"],
    )


def recorded_labels():
    found = recorded("tiny_losses.npz")
    return np.stack([found["label0"], found["label1"]])


def matched(layer):
    """The recorded matching of one layer: [(image, query, class)], in their order."""
    found, pairs = recorded("tiny_losses.npz"), []
    for image in range(2):
        name = f"layer{layer}/img{image}"
        classes = found[f"gt{image}/labels"][found[f"{name}/pos_assigned_gt_inds"]]
        pairs += [
            (image, int(query), int(label))
            for query, label in zip(found[f"{name}/pos_inds"], classes, strict=True)
        ]
    return pairs


def points_of(draws, pairs, loss, classes):
    """Recorded draws as `LossPoints`; points of absent classes count for nothing.

    Args:
      draws: per layer (match image 0, match image 1, candidates, extra).
      pairs: per layer the matched (image, query, class), in the draws' order.
      loss: gives the counts.
      classes: K.
    """
    layers = len(draws)
    extra = loss.num_points - int(loss.importance * loss.num_points)
    candidates = int(loss.oversample * loss.num_points)
    match = np.zeros((layers, 2, loss.num_points, 2), np.float32)
    many = np.zeros((layers, 2, classes, candidates, 2), np.float32)
    few = np.zeros((layers, 2, classes, extra, 2), np.float32)
    for layer, (first, second, wide, narrow) in enumerate(draws):
        match[layer] = first[0], second[0]
        assert len(pairs[layer]) == len(wide)
        for row, (image, _, label) in enumerate(pairs[layer]):
            many[layer, image, label] = wide[row]
            few[layer, image, label] = narrow[row]
    return LossPoints(*map(jnp.asarray, (match, many, few)))


@cache
def main_points():
    found, loss = recorded("tiny_losses.npz"), loss_settings()
    names = ("rand_match_img0", "rand_match_img1", "rand_oversample", "rand_extra")
    layers = range(settings()["decode_head"]["transformer_decoder"]["num_layers"] + 1)
    draws = [[found[f"layer{i}/{name}"] for name in names] for i in layers]
    classes = settings()["decode_head"]["num_classes"]
    return points_of(draws, [matched(i) for i in layers], loss, classes)


def split_parameters():
    graph, params = network()
    frozen = {"backbone": params["backbone"]}
    return graph, {k: v for k, v in params.items() if k != "backbone"}, frozen


@cache
def losses_and_gradients():
    """Our terms, predictions and gradients (nested) of the recorded batch."""
    graph, trainable, frozen = split_parameters()
    image = nhwc(recorded("tiny_losses.npz")["input"])
    labels, loss = jnp.asarray(recorded_labels()), loss_settings()

    @partial(jax.jit, compiler_options=QUICK)
    @partial(jax.value_and_grad, has_aux=True)
    def run(params, points):
        model = nnx.merge(graph, params | frozen)
        output = model.segment(model.taps(image), image)
        terms = segmentation_terms(
            output.class_logits, output.mask_logits, labels, points, loss
        )
        total = sum(terms[name].sum() for name in TERMS.values())
        return total, (terms, output)

    (total, (terms, output)), gradients = run(trainable, main_points())
    return jax.device_get((total, terms, output, gradients))


def loss_errors():
    """Relative error of each term of each layer, and of the total."""
    found = recorded("tiny_losses.npz")
    total, terms, _, _ = losses_and_gradients()
    errors = {
        f"layer{layer} {theirs_}": relative(
            terms[name][layer], found[f"layer{layer}/loss_{theirs_}"].item()
        )
        for theirs_, name in TERMS.items()
        for layer in range(len(terms[name]))
    }
    return errors | {"total": relative(total, found["total_loss"])}


def assignments_differ():
    """(layer, image, query, class) of every matched pair that is not the authors'."""
    query = losses_and_gradients()[1]["query"]
    pairs = {
        (layer, image, int(query[layer, image, label]), label)
        for layer, image, label in np.argwhere(query >= 0).tolist()
    }
    recorded_pairs = {(i, *pair) for i in range(len(query)) for pair in matched(i)}
    return pairs ^ recorded_pairs


def cost_errors():
    """Relative errors of the matching costs on the recorded predictions."""
    found, loss, errors = recorded("tiny_losses.npz"), loss_settings(), {}
    points, labels = main_points(), recorded_labels()
    for layer in range(points.match.shape[0]):
        for image in range(2):
            name, xy = f"layer{layer}/img{image}", points.match[layer, image]
            masks = jnp.asarray(found[f"layer{layer}/mask_pred"][image])
            logits = jnp.asarray(found[f"layer{layer}/cls_pred"][image])
            targets = class_masks(jnp.asarray(labels[image]), logits.shape[1] - 1)
            costs = matching_costs(
                logits,
                sample_bilinear(masks.transpose(1, 2, 0), xy).T,
                sample_bilinear(targets, xy).T,
                jnp.ones(len(xy)),
                class_weight=loss.class_weight,
                mask_weight=loss.mask_weight,
                dice_weight=loss.dice_weight,
            )
            present = found[f"gt{image}/labels"]
            for theirs_, ours_ in TERMS.items():
                key = f"{name}/cost_{theirs_}"
                errors[key] = relative(costs[ours_][:, present], found[key])
            total = sum(costs.values())[:, present]
            errors[f"{name}/cost_total"] = relative(total, found[f"{name}/cost_total"])
    return errors


def gradient_errors():
    """(Our relative error, PyTorch's own against float64) of every gradient."""
    found = recorded("tiny_losses.npz")
    gradients = theirs(losses_and_gradients()[3])
    expected = {
        k.removeprefix("grad/"): v for k, v in found.items() if k.startswith("grad/")
    }
    assert gradients.keys() == expected.keys()
    return {
        name: (
            relative(gradients[name], value),
            relative(value, found[f"f64/grad/{name}"]),
        )
        for name, value in expected.items()
    }


def double_gradient_errors():
    """Our relative error of every gradient against PyTorch's float64."""
    found, gradients = recorded("tiny_losses.npz"), theirs(losses_and_gradients()[3])
    return {k: relative(v, found[f"f64/grad/{k}"]) for k, v in gradients.items()}


def adamw_errors(step):
    """Relative errors of parameters, and of their changes, after 1 or 3 steps."""
    graph, trainable, _ = split_parameters()
    found = recorded("tiny_losses.npz")
    gradients = ours(
        {k.removeprefix("grad/"): v for k, v in found.items() if k.startswith("grad/")}
    )
    gradients = undotted({k: jnp.asarray(v) for k, v in gradients.items()}, trainable)
    optimiser = adamw(
        learning_rate(1e-4, power=0.9, decay_steps=40_000),
        decay_mask(nnx.merge(graph, network()[1]), trainable),
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.05,
    )
    update = jax.jit(optimiser.update)
    params, state = trainable, optimiser.init(trainable)
    for _ in range(step):
        changes, state = update(gradients, state, params)
        params = optax.apply_updates(params, changes)
    steps = recorded("tiny_adamw.npz")
    expected = ours(
        {
            k.removeprefix(f"step{step}/"): v
            for k, v in steps.items()
            if k.startswith(f"step{step}/")
        }
    )
    got, start = dotted(params), converted()
    assert got.keys() == expected.keys()
    return {
        key: (
            relative(got[key], expected[key]),
            relative(got[key] - start[key], expected[key] - start[key]),
        )
        for key in expected
    }


def without_ground_truth(which):
    """Terms [3, P] of "allignore" or "oneignore", and the recorded ones."""
    found, loss = recorded("tiny_losses.npz"), loss_settings()
    _, _, output, _ = losses_and_gradients()
    classes = output.class_logits.shape[-1] - 1
    layers = len(output.class_logits)
    labels = np.full_like(recorded_labels(), 255)
    if which == "oneignore":
        labels[0] = recorded_labels()[0]

    @jax.jit
    def run(points):
        return segmentation_terms(
            output.class_logits, output.mask_logits, jnp.asarray(labels), points, loss
        )

    empty = np.zeros((1, loss.num_points, 2), np.float32)
    draws, pairs = [[empty, empty, [], []]] * layers, [[]] * layers
    if which == "oneignore":
        draws = [
            [found[f"oneignore/rand{4 * i + j}"] for j in range(4)]
            for i in range(layers)
        ]
        # Which row belongs to which class follows from the matching.
        bare = [[*draw[:2], [], []] for draw in draws]
        query = np.asarray(run(points_of(bare, pairs, loss, classes))["query"])
        assert (query[:, 1] == -1).all()
        pairs = [
            sorted((0, int(q), k) for k, q in enumerate(row) if q >= 0)
            for row in query[:, 0]
        ]
    terms = run(points_of(draws, pairs, loss, classes))
    got = np.stack([terms[name] for name in TERMS.values()])
    # Recorded as loss_cls, loss_mask, loss_dice of the last layer, then of 0, 1, …
    values = found[f"{which}/loss_values"].reshape(layers, 3)
    return got, np.roll(values, -1, axis=0).T
