"""LSFA: features of photographs and scans are adapted to good parts, then remembered.

Tu, Zhang, Liu et al. 2024, "Self-supervised Feature Adaptation for 3D Industrial Anomaly
Detection", arXiv 2401.03145, ECCV 2024. Written from the paper and from facts about its released
code. Which function is which equation, and what differs: docs/methods/lsfa.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from blemish.cache import backgrounds_folder
from blemish.descriptors import stretch_of
from blemish.errors import ConfigError, ImageError, needs_extra
from blemish.frame import Frame
from blemish.methods.base import Config, Method, require_boxes, tap_names
from blemish.methods.lsfa_head import LsfaHead, Parts, patches_of, weigh
from blemish.methods.lsfa_learn import adapt
from blemish.methods.lsfa_turned import BLOCK
from blemish.nets.features import Features
from blemish.nets.memory import Array, Memory
from blemish.nets.nearest import Nearest
from blemish.nets.spool import spooled
from blemish.records import Sample
from blemish.scans import read_scan, scan_files
from blemish.settings import require
from blemish.shots import MOST, PHOTOGRAPH, Sight
from blemish.track import Track, silent

SPARED = 5  # every so manieth part is not learnt from: adaptation and scores are judged by it
LOOKED_AT = 20  # scans that tell which unit z is in
LIGHTEST = 0.01  # weight of a modality, of the heaviest one's


@dataclass(frozen=True, kw_only=True)
class LsfaConfig(Config):
    """grid: cells along a side, in each of which every modality has one feature.
    points: how scans are shown: "fpfh" (descriptors.py), or "groups" for Point-MAE (paper), whose
        file is point_mae.
    even: whether a photograph's taps are weighed so that all count alike, or as they are (paper).
    heads: of an adaptor's attention.
    ridge: of the linear map that a photograph's adaptor begins with, shape_ridge: a scan's; 0
        leaves it out (paper); see nets/adaptor.py.
    still: whether an adaptor's block begins as nothing at all, or at random (paper).
    steps: of learning, of `batch` parts each; 0 adapts by the linear map alone. rate, decay: of
        AdamW.
    patience: looks, one each `check` steps, at made-up defects on spared parts, after which
        learning stops unless they stand out more in some modality; of each modality the best look
        is kept. The first is at features as they are, the second at the linear map; learning starts
        at the better. 0 learns all steps from the map and keeps the last (paper, released code).
    agree: weight of what modalities must agree in (CLC; the paper's lambda). alike: share in it of
        whole images. temperature: of both. joint: width of what they are compared in.
    turned: weight of a contrast between a photograph and the same with each 4 x 4 block of pixels
        turned by a random quarter; 0 in the paper (released code: 0.05).
    compared: patches of a batch that are learnt from, evenly spread; 0 is all (paper).
    compact: weight of good parts that must lie together (IFC). whole: share in it of whole images.
    prototype: an image as one feature, "kmeans" (paper) or "mean" (released code).
    queue: patches remembered for it, images: whole images. cap: squared distance from which on a
        patch is left in peace, 0 for none (released code: 50).
    share, rows, neighbours: of the memory, as in patchcore.
    boxes: of the frame, as in Frame; variance 4 (7² - 1) / 12, that of a Gaussian of 4 px (paper).
    fusion: how modalities' scores are joined. "square": the root of their mean square, each in
        units of what the median good part's oddest patch has. In units of their spread on good
        parts they are averaged ("average", paper) or weighed by a linear one-class SVM ("svm",
        released code).
    """

    size: int = 224
    taps: tuple[int, ...] = (2, 4, 8, 16)
    grid: int = 28
    points: Literal["fpfh", "groups"] = "fpfh"
    point_mae: str | None = None
    even: bool = True
    heads: int = 4
    ridge: float = 0.3
    shape_ridge: float = 0.0
    still: bool = True
    steps: int = 120
    batch: int = 8
    rate: float = 3e-3
    decay: float = 0.01
    check: int = 20
    patience: int = 1
    agree: float = 1.0
    alike: float = 0.1
    temperature: float = 0.2
    joint: int = 128
    turned: float = 0.0
    compared: int = 1024
    compact: float = 0.9
    whole: float = 0.4
    prototype: Literal["kmeans", "mean"] = "kmeans"
    queue: int = 8000
    images: int = 100
    cap: float = 50.0
    share: float = 0.1
    rows: int = 4096
    neighbours: int = 0
    boxes: tuple[tuple[int, int], ...] = ((7, 4),)
    fusion: Literal["square", "average", "svm"] = "square"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("grid", "batch", "check", "heads", "joint", "queue", "images"):
            require(getattr(self, name) >= 1, name, "1 or more", getattr(self, name))
        for name in ("rate", "temperature"):
            require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        require(0 < self.share <= 1, "share", "above 0 and at most 1", self.share)
        zero = ("steps", "patience", "ridge", "shape_ridge", "agree", "alike", "compact", "whole")
        for name in (*zero, "turned", "cap", "compared", "rows", "neighbours"):
            require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        require_boxes(self.boxes)
        whole = not self.turned or self.size % BLOCK == 0
        require(whole, "size", f"a multiple of {BLOCK} where turned is above 0", self.size)

    def pretrained(self, scans: bool = True) -> dict[str, str | None]:
        files = super().pretrained(scans)
        return files | ({"point_mae": self.point_mae} if scans and self.points == "groups" else {})

    def frame(self) -> Frame:
        # Released code: bicubic, which for its ViT is Pillow's.
        pillow = self.backbone.startswith("vit_")
        way: Literal["area", "bicubic"] = "bicubic" if pillow else "area"
        return replace(super().frame(), interpolation=way, boxes=self.boxes)

    def sight(self, samples: Sequence[Sample]) -> Sight | None:
        """All modalities that every sample came with; None if that is photographs alone."""
        every = [{name for name, _ in sample.others} for sample in samples]
        names = [PHOTOGRAPH, *(n for n, _ in samples[0].others if all(n in one for one in every))]
        points = self.points if all(scan_files(sample) for sample in samples) else "none"
        if len(names) + (points != "none") > MOST:
            raise ConfigError(
                f"parts must come with at most {MOST} modalities, but these have"
                f" {', '.join([*names, *['points'] * (points != 'none')])}. Leave out some --other."
            )
        if len(names) == 1 and points == "none":
            return None
        stretch = _stretch(samples) if points == "fpfh" else 1.0
        return Sight(pictures=tuple(names), points=points, grid=self.grid, stretch=stretch)


def _stretch(samples: Sequence[Sample]) -> float:
    found = []
    for sample in samples[:: -(-len(samples) // LOOKED_AT)]:
        try:
            found.append(stretch_of(read_scan(sample, masks=backgrounds_folder())))
        except ImageError:
            continue  # reported when its features are computed
    return float(np.median(found)) if found else 1.0


class Lsfa(Method):
    """See the module's head. Presets: "embedded", Lite0 and FPFH; "paper", DINO and Point-MAE."""

    name = "lsfa"
    trained = True
    presets: ClassVar[dict[str, Config]] = {
        "embedded": LsfaConfig(),
        "paper": LsfaConfig(
            backbone="vit_base_patch8_224.dino",
            taps=(11,),
            grid=56,
            points="groups",
            even=False,
            heads=12,
            ridge=0.0,
            still=False,
            steps=664,
            rate=2e-3,
            patience=0,
            alike=1.0,
            temperature=1.0,
            joint=512,
            compared=0,
            compact=1.0,
            whole=1.0,
            queue=60_000,
            cap=0.0,
            rows=0,
            neighbours=3,
            fusion="average",
        ),
    }
    config: LsfaConfig

    @property
    def takes(self) -> list[str]:
        """The backbone's taps; of several modalities also what is made of the scan, and which of
        them are there."""
        sight: Sight | None = getattr(self, "sight_", None)
        if sight is None:
            return tap_names(self.config)
        scan = ["shape", "seen"] if sight.points != "none" else []
        return [*tap_names(self.config), *scan, "present"]

    def fit(self, features: Features, *, seed: int = 0, track: Track = silent) -> Lsfa:
        """Adapts, then remembers. Every fifth part is spared until the adaptors are what they will
        be and the spread of scores is known, and then remembered, too."""
        self.sight_ = features.origin.sight
        parts = Parts(self.config, self.sight_)
        order = features.turnwise()
        spared = [index for index in order if features.of(index) % SPARED == 0]
        learnt = [index for index in order if features.of(index) % SPARED] or spared
        weigh(parts, features, learnt, self.config.even)
        adaptors = adapt(self.config, features, parts, spared, learnt, seed, track)
        self.head_ = LsfaHead(parts, adaptors, square=self.config.fusion == "square")
        for number in range(len(adaptors)):
            self._remember(number, features, spared, learnt, track)
        if self.config.fusion == "svm":
            self.head_.weights.copy_(_svm(self.head_, features, spared))
        return self

    def _remember(
        self,
        number: int,
        features: Features,
        spared: Sequence[int],
        learnt: Sequence[int],
        track: Track,
    ) -> None:
        """Sets the memory of one modality, and the level and unit of its scores."""
        c, head = self.config, self.head_
        with spooled(_adapted(head, features, number)) as images:
            memory = Memory(share=c.share, most=c.rows)
            memory.add({str(i): images[i] for i in learnt if len(images[i])}, track=track)
            known = Nearest(memory.rows, 0)
            far = [known(torch.from_numpy(np.array(images[i]))) for i in spared if len(images[i])]
            head.measure(number, far)
            rest = {str(i): images[i] for i in spared if str(i) not in memory.images}
            if rest := {name: image for name, image in rest.items() if len(image)}:
                memory.add(rest, track=track)
            unit = memory.rows.shape[1] ** 0.5
            head.banks.append(Nearest(memory.rows, c.neighbours, unit))


def _adapted(head: LsfaHead, features: Features, number: int) -> Iterator[Array]:
    """(n, D) adapted patches of each part that were seen."""
    with torch.no_grad():
        for index in range(len(features)):
            patches, seen = patches_of(features, head.parts, [index])[number]
            yield head.adaptors[number](patches)[0][seen[0]].numpy()


def _svm(head: LsfaHead, features: Features, indices: Sequence[int]) -> Tensor:
    """(M,) weights of the modalities' scores in a linear one-class SVM, which sum to M."""
    with needs_extra("weighing modalities by a support vector machine", "train"):
        from sklearn.linear_model import SGDOneClassSVM

    rows: list[npt.NDArray[np.float32]] = []
    with torch.no_grad():
        for index in indices:
            given = [torch.from_numpy(one) for one in features.batch([index])]
            scores, seen = head.scores(*given)
            rows.append(scores[:, seen.all(0)].T.numpy())
    every = np.concatenate(rows)
    even = np.ones(every.shape[1])
    if len(every) == 0:  # no cell is seen by all
        return torch.from_numpy(even).float()
    # Even what tells nothing beside the others is all there is without them.
    found = np.maximum(SGDOneClassSVM(random_state=42).fit(every).coef_, 0)
    found = np.maximum(found, LIGHTEST * found.max()) if found.max() > 0 else even
    return torch.from_numpy(found * len(found) / found.sum()).float()
