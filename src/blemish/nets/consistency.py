"""What LSFA learns from: modalities that agree (CLC), and good parts that lie together (IFC).

Tu, Zhang, Liu et al. 2024, arXiv 2401.03145. Where the paper and the released code differ, both are
here, and docs/methods/lsfa.md says which preset takes which.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.nets.nearest import nearest_place

PROTOTYPES, ROUNDS = 4, 5  # of k-means
LEAST = 1e-12  # squared distance: its root has a gradient


def contrast(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """InfoNCE both ways: row i of (K, D) belongs to row i of the other, and to no other row.

    Times 2 * temperature, as in MoCo v3, so that the temperature does not change the loss' size.
    """
    a, b = F.normalize(one, dim=1), F.normalize(other, dim=1)
    likeness = a @ b.T / temperature
    right = torch.arange(len(likeness), device=likeness.device)
    both = F.cross_entropy(likeness, right) + F.cross_entropy(likeness.T, right)
    return both * temperature


def prototypes(patches: Tensor, seen: Tensor, how: str) -> Tensor:
    """(B, N, D) → (B, D): each image as one feature, of the patches that were seen.

    how: "mean" (released code), or "kmeans" (paper): the mean of PROTOTYPES centres of k-means,
    which a large background does not outvote. Its first centres are spread evenly over the patches.
    """
    found = []
    for image, there in zip(patches, seen, strict=True):
        inside = image[there] if there.any() else image
        found.append(inside.mean(0) if how == "mean" else _centres(inside).mean(0))
    return torch.stack(found)


def _centres(patches: Tensor) -> Tensor:
    count = min(PROTOTYPES, len(patches))
    with torch.no_grad():
        centres = patches[torch.linspace(0, len(patches) - 1, count).long()]
        for _ in range(ROUNDS):
            nearest = nearest_place(patches, centres)
            centres = _means(patches, nearest, centres)
        nearest = nearest_place(patches, centres)
    return _means(patches, nearest, centres)


def _means(patches: Tensor, nearest: Tensor, centres: Tensor) -> Tensor:
    member = F.one_hot(nearest, len(centres)).to(patches.dtype)  # (N, K)
    count = member.sum(0)[:, None]
    return torch.where(count > 0, member.T @ patches / count.clamp_min(1), centres)


class Queue(nn.Module):
    """The last features seen, first in, first out; buffers, so that a checkpoint has them.

    most: rows at most. width: of a feature.
    """

    kept: Tensor
    count: Tensor

    def __init__(self, most: int, width: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(most, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @property
    def rows(self) -> Tensor:
        """(K, D), in no order that matters."""
        return self.kept[: int(self.count)]

    def put(self, features: Tensor) -> None:
        """Takes in (K, D) features, without gradients, in the place of the oldest."""
        most, new = len(self.kept), features.detach()[-len(self.kept) :]
        places = (torch.arange(len(new), device=new.device) + self.count) % most
        self.kept[places] = new
        self.count += len(new)


def compactness(features: Tensor, queue: Queue, cap: float) -> Tensor:
    """Mean distance of (K, D) features to the nearest of the queue; 0 of none.

    cap: squared distance from which on a feature has no gradient (released code: 50); 0 is none.
    """
    if len(queue.rows) == 0 or len(features) == 0:
        return features.sum() * 0
    with torch.no_grad():
        nearest = queue.rows[nearest_place(features, queue.rows)]
    square = (features - nearest).square().sum(1)
    return square.clamp(LEAST, cap if cap > 0 else torch.inf).sqrt().mean()


def pairs(features: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Each two of the modalities."""
    return [(a, b) for i, a in enumerate(features) for b in features[i + 1 :]]
