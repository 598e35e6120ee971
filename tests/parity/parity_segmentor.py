"""Measured errors of the forward pass: every stage that the authors' code recorded."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from parity_fixtures import QUICK, network, nhwc, recorded, relative, same_argmax

from crossearth_jax.models.crossearth import stage_maps
from crossearth_jax.models.layers import sine_position
from crossearth_jax.models.mask2former import attention_mask, semantic_scores
from crossearth_jax.models.pixel_decoder import reference_points
from crossearth_jax.pixels.resample import resize_bilinear
from crossearth_jax.scoring.domain import label_scores
from crossearth_jax.scoring.sliding import sliding_scores
from crossearth_jax.scoring.windows import Windows


def backbone_stages(model, image):
    """Embedding, blocks and Rein layers; tokens [1, 1 + N, C]."""
    tokens = model.backbone.embed(image)
    stages = {}
    for i, block in enumerate(model.backbone.blocks):
        stages[f"bb/block{i}_in"] = tokens
        tokens = block(tokens)
        stages[f"bb/block{i}_out"] = tokens
        refined = model.rein(i, tokens[:, 1:])
        tokens = jnp.concatenate([tokens[:, :1], refined], axis=1)
        stages[f"bb/rein{i}_out"] = tokens
    patches = model.backbone.patch_embed(image)
    stages["bb/patch_embed"] = patches.reshape(1, -1, patches.shape[-1])
    return stages


def pixel_decoder_stages(decoder, maps):
    """Input convolutions, encoder input and every encoder layer."""
    coarse = [maps[3], maps[2], maps[1]]
    inputs = [conv(x) for conv, x in zip(decoder.input_convs, coarse, strict=True)]
    stages = {f"pd/input_conv{i}": x for i, x in enumerate(inputs)}
    width, sizes = inputs[0].shape[-1], [x.shape[1:3] for x in inputs]
    levels = decoder.level_encoding[...]
    position = jnp.concatenate(
        [
            sine_position(*size, width) + level
            for size, level in zip(sizes, levels, strict=True)
        ]
    )
    x = jnp.concatenate([m.reshape(1, -1, width) for m in inputs], axis=1)
    reference = reference_points(sizes)
    stages |= {"pd/enc_in": x, "pd/enc_pos": position[None]}
    stages["pd/reference_points"] = jnp.stack([reference[None]] * 3, axis=2)
    for i, layer in enumerate(decoder.encoder):
        x = layer(x, position, reference, sizes)
        stages[f"pd/enc{i}_out"] = x
    return stages


def decoder_stages(decoder, memories, queries, masks):
    """Content of the queries, keys, positions and attention masks of every layer."""
    query, stages = decoder.query_feature(queries)[None], {}
    stages["dec/query_feat0"], stages["dec/query_pos"] = query, queries[None]
    for i, mask in enumerate(masks):
        memory, size = memories[i % 3], memories[i % 3].shape[1:3]
        logits = resize_bilinear(mask.transpose(0, 2, 3, 1), size)
        logits = logits.transpose(0, 3, 1, 2)
        seen = attention_mask(mask, size)
        stages |= {
            f"dec/attn_logit{i}": logits,
            f"dec/attn_mask{i}_raw": (logits < 0).reshape(seen.shape),
            f"dec/attn_mask{i}_used": ~seen,
        }
        if i == len(decoder.layers):  # the last prediction's mask serves no layer
            break
        tokens = memory.reshape(1, -1, memory.shape[-1])
        tokens = tokens + decoder.level_embed[i % 3]
        position = sine_position(*size, memory.shape[-1])
        query = decoder.layers[i](query, queries, tokens, position, seen)
        stages |= {
            f"dec/key{i}": tokens,
            f"dec/key_pos{i}": position[None],
            f"dec/query_feat{i + 1}": query,
        }
    return stages


def all_stages(model, image):
    """Every recorded stage of one image, under the fixtures' names and layouts."""
    stages = backbone_stages(model, image)
    taps = model.taps(image)
    maps, queries = stage_maps(taps), model.rein.queries()
    features, memories = model.decoder.pixel_decoder(maps)
    output = model.segment(taps, image)
    scores = semantic_scores(
        output.class_logits[-1], output.mask_logits[-1], image.shape[1:3]
    )
    images = {
        **{f"bb/feat{j}_prescale": tap for j, tap in enumerate(taps)},
        **{f"feat{j}": x for j, x in enumerate(maps)},
        **{f"memory{j}": x for j, x in enumerate(memories)},
        "mask_features": features,
        "seg_logits": scores,
    }
    pixel = pixel_decoder_stages(model.decoder.pixel_decoder, maps)
    images |= {k: pixel.pop(k) for k in list(pixel) if "input_conv" in k}
    stages |= {k: x.transpose(0, 3, 1, 2) for k, x in images.items()} | pixel
    stages |= decoder_stages(model.decoder, memories, queries, output.mask_logits)
    stages |= {f"cls_pred{i}": x for i, x in enumerate(output.class_logits)}
    stages |= {f"mask_pred{i}": x for i, x in enumerate(output.mask_logits)}
    return stages | {"querys": queries}


def compute_stages(case):
    graph, params = network()

    @partial(jax.jit, compiler_options=QUICK)
    def run(params, image):
        return all_stages(nnx.merge(graph, params), image)

    image = nhwc(recorded("tiny_segmentor.npz")[f"{case}/input"])
    return jax.device_get(run(params, image))


def stage_errors(case, stages):
    """Relative error of each recorded stage of case A or B, in the fixtures' order."""
    expected = recorded("tiny_segmentor.npz")
    names = [k.removeprefix(f"{case}/") for k in expected if k.startswith(f"{case}/")]
    return {
        name: relative(stages[name], expected[f"{case}/{name}"])
        for name in names
        if name in stages
    }


def resized_case(stages):
    """Case C: image A scored at another original size.

    Returns:
      The relative error of the scores and the share of equal classes.
    """
    expected = recorded("tiny_segmentor.npz")["C/seg_logits"]
    scores = np.moveaxis(stages["seg_logits"], 1, -1)
    size = expected.shape[2:]
    resized = resize_bilinear(jnp.asarray(scores), size)
    classes = label_scores(scores[0], size, scores.shape[-1]).argmax(2)
    error = relative(resized.transpose(0, 3, 1, 2), expected)
    return error, same_argmax(classes, expected[0])


def slide_cases():
    return sorted({key.split("/")[0] for key in recorded("slide.npz")})


def slide_errors():
    """Sliding windows: relative errors of the averaged scores, shares of classes."""
    graph, params = network()
    patch = nnx.merge(graph, params).config.backbone.patch_size

    @partial(jax.jit, compiler_options=QUICK)
    def scores(params, windows):
        return nnx.merge(graph, params).scores(windows)

    found, errors, classes = recorded("slide.npz"), {}, {}
    for case in slide_cases():
        crop, _, stride, _ = map(int, found[f"{case}/crop_size_stride"])
        mean = sliding_scores(
            lambda windows: scores(params, windows),
            np.moveaxis(found[f"{case}/input"][0], 0, -1),
            Windows(crop, stride, patch, batch=3),
        )
        logits, at_label = found[f"{case}/logits"][0], found[f"{case}/predict_logits"]
        errors[case] = relative(np.moveaxis(mean, -1, 0), logits)
        ids = label_scores(mean, at_label.shape[1:], mean.shape[-1]).argmax(2)
        classes[f"{case} windows"] = same_argmax(mean.argmax(-1), logits)
        classes[f"{case} label size"] = same_argmax(ids, at_label)
    return errors, classes
