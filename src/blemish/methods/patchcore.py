"""PatchCore: a memory of features of good parts; what is far from all of them is odd.

Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler 2022, "Towards Total Recall in Industrial Anomaly
Detection", arXiv 2106.08265. Written from the paper; weights and licence are the backbone's
(nets/weights.py). What differs from the paper and why: docs/methods/patchcore.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, cast

from torch import Tensor, nn

from blemish.methods.base import Config, Method
from blemish.methods.padim import Stack
from blemish.nets.features import Features
from blemish.nets.memory import Array, Memory
from blemish.nets.nearest import Nearest
from blemish.nets.spool import spooled
from blemish.settings import require
from blemish.track import Track, silent


@dataclass(frozen=True, kw_only=True)
class PatchcoreConfig(Config):
    """share: rows of the memory for each feature of good parts, above 0 to 1 (paper: 0.25, 0.1 and
        0.01).
    rows: of the memory at most, 0 for any number; model size and time of a score grow with them.
    neighbours: rows that tell whether the nearest one is in a crowd, which weighs the image's score
        (equation 7); 0 leaves scores as they are, and so does a tile: windows of weights of their
        own would not fit together.
    """

    share: float = 0.1
    rows: int = 4096
    neighbours: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.share <= 1, "share", "above 0 and at most 1", self.share)
        require(self.rows >= 0, "rows", "0 or more", self.rows)
        require(self.neighbours >= 0, "neighbours", "0 or more rows", self.neighbours)


class PatchcoreHead(nn.Module):
    """Distance of each position's features to the nearest row (paper, section 3.3)."""

    def __init__(self, rows: Array, neighbours: int) -> None:
        super().__init__()
        self.stack, self.nearest = Stack(None), Nearest(rows, neighbours)

    def forward(self, *taps: Tensor) -> Tensor:
        grid = self.stack(*taps)  # (1, D, h, w)
        far = self.nearest(grid[0].flatten(1).T)
        return cast(Tensor, far.reshape(grid.shape[2:]))


class Patchcore(Method):
    """See the module's head. Presets: "embedded", and "paper": WideResNet-50-2 with a tenth of all
    features."""

    name = "patchcore"
    presets: ClassVar[dict[str, Config]] = {
        "embedded": PatchcoreConfig(),
        "paper": PatchcoreConfig(size=224, backbone="wide_resnet50_2", rows=0),
    }
    config: PatchcoreConfig

    def fit(self, features: Features, *, seed: int = 0, track: Track = silent) -> Patchcore:
        """Chooses the rows of the memory; nothing in it is random."""
        memory = Memory(share=self.config.share, most=self.config.rows)
        with spooled(_points(features, track)) as images:
            memory.add({str(index): image for index, image in enumerate(images)}, track=track)
            neighbours = 0 if self.config.tile else self.config.neighbours
            self.head_ = PatchcoreHead(memory.rows, neighbours)
        return self


def _points(features: Features, track: Track) -> Iterator[Array]:
    """(h * w, D) features of each image."""
    for grids in features.grids(Stack(None), track):
        yield from grids.flatten(2).transpose(1, 2).contiguous().numpy()
