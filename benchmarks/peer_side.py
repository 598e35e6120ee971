"""The PyTorch side of a comparison: the cases of `our_side` with the peer.

On a GPU if there is one; in bfloat16 by autocast, with the frozen backbone stored so.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict
from torch.nn import functional

from benchmarks import our_side, peer_names
from benchmarks.peer_losses import Draws, draw, make_optimiser, normalise, step_losses
from benchmarks.peer_torch import CrossEarth
from crossearth_jax import build
from crossearth_jax.run_settings import read_settings


class PeerSide:
    """Functions by case; takes weights, batch and random numbers from the folder."""

    def __init__(
        self, config: ConfigDict, classes: int, folder: Path, *, compiled: bool = False
    ) -> None:
        self.config, self.classes = config, classes
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.half = config.precision == "bfloat16"
        tensorfloat32 = config.precision == "tensorfloat32"
        torch.set_float32_matmul_precision("high" if tensorfloat32 else "highest")
        torch.backends.cudnn.allow_tf32 = False  # of convolutions; PyTorch has it on
        self.objective = read_settings(config).objective
        self.model = CrossEarth(build.model_config(config, classes))
        with np.load(folder / our_side.WEIGHTS) as stored:
            peer_names.load(self.model, stored)
        self.model.to(self.device)
        if self.half:
            self.model.backbone.to(torch.bfloat16)
        norms = peer_names.exempt_from_decay(self.model)
        self.optimiser = make_optimiser(
            self.model, lambda name: name not in norms, config.optim.lr
        )
        if compiled:
            self.model.taps = torch.compile(self.model.taps)
            self.model.segment = torch.compile(self.model.segment)
        self.image, self.label = (
            torch.from_numpy(array).to(self.device)
            for array in _arrays(folder / our_side.BATCH, ("image", "label"))
        )
        stored_draws = _arrays(folder / our_side.DRAWS, Draws._fields)
        self.first = Draws(*(torch.from_numpy(x).to(self.device) for x in stored_draws))
        self.draws: Draws | None = self.first
        self.cases = {
            "inference": self._inference,
            "backbone": self._backbone,
            "step": self._step,
            "scene": self._scene,
            "matmul": self._matmul,
        }

    def peak_on_device(self) -> int | None:
        """Bytes since the start of the process; None on a CPU."""
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else None

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.half)

    @torch.inference_mode()
    def _inference(self) -> np.ndarray:
        """Scores [1, H, W, K] of one normalised window."""
        return self._scores(self.image[:1]).permute(0, 2, 3, 1).float().cpu().numpy()

    def _scores(self, image: torch.Tensor) -> torch.Tensor:
        with self._autocast():
            return self.model.scores(normalise(image))

    @torch.inference_mode()
    def _backbone(self) -> np.ndarray:
        """The last tap [1, h, w, C] of one window."""
        with self._autocast():
            tap = self.model.taps(normalise(self.image[:1]))[-1]
        return tap.permute(0, 2, 3, 1).float().cpu().numpy()

    def losses(self, draws: Draws) -> dict[str, torch.Tensor]:
        """Losses of the batch."""
        with self._autocast():
            return step_losses(
                self.model,
                self.image,
                self.label.long(),
                draws,
                self.objective.segmentation,
            )

    def _step(self) -> dict[str, float]:
        """One training step, the first with our random numbers, others with its own."""
        masked, shape = self.objective.masked, self.first.candidates.shape[:3]
        draws = self.draws or draw(
            shape,
            self.config.data.crop,
            self.objective.segmentation,
            masked.ratio,
            masked.block,
            self.device,
        )
        self.draws = None
        self.optimiser.zero_grad(set_to_none=True)
        losses = self.losses(draws)
        losses["loss"].backward()
        trained = (p for p in self.model.parameters() if p.grad is not None)
        norm = torch.nn.utils.get_total_norm(p.grad for p in trained)
        self.optimiser.step()
        return {k: v.item() for k, v in {**losses, "gradient": norm}.items()}

    @torch.inference_mode()
    def _scene(self) -> np.ndarray:
        """Scores of a scene, averaged where windows overlap."""
        scene = torch.from_numpy(our_side.random_scene(self.config)).to(self.device)
        windows, side = read_settings(self.config).windows, len(scene)
        crop = windows.crop
        origins = windows.lay(side, side).tops
        total = torch.zeros(side, side, self.classes, device=self.device)
        count = torch.zeros(side, side, 1, device=self.device)
        for y in origins:
            for x in origins:
                part = slice(y, y + crop), slice(x, x + crop)
                found = self._scores(scene[part][None])[0].permute(1, 2, 0)
                total[part] += found.float()
                count[part] += 1
        return (total / count).cpu().numpy()

    def _matmul(self) -> None:
        """Product of two square matrices in the compute type."""
        side, kind = our_side.MATMUL, torch.bfloat16 if self.half else torch.float32
        if not hasattr(self, "matrix"):
            self.matrix = torch.ones(side, side, dtype=kind, device=self.device)
        functional.linear(self.matrix, self.matrix)
        if self.device == "cuda":
            torch.cuda.synchronize()


def _arrays(path: Path, names: tuple[str, ...]) -> list[Any]:
    with np.load(path) as stored:
        return [stored[name] for name in names]
