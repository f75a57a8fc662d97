"""How far features are from the nearest row of a memory: matrix products, in torch and ONNX."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

CHUNK = 1024  # points or rows multiplied at once
SAME = 1e-6  # of the largest squared length: float32 tells no points apart that lie closer


def nearest_square(points: Tensor, rows: Tensor) -> Tensor:
    """(N, D) points and (M, D) rows → (N,) squared distance to the nearest row; infinity if none.

    Both about one origin: what lies closer than about 1e-3 of their length is all the same.
    """
    nearest = torch.full((len(points),), torch.inf)
    for start in range(0, len(rows), CHUNK):
        piece = rows[start : start + CHUNK]
        products = torch.addmm(piece.square().sum(1), points, piece.T, alpha=-2)
        torch.minimum(nearest, products.amin(1), out=nearest)
    return (nearest + points.square().sum(1)).clamp_min(0)


class Nearest(nn.Module):
    """Distance of every feature to its nearest row, (N, D) → (N,), times one weight.

    The weight is PatchCore's (paper, equation 7), between 0 and 1: of the feature farthest from all
    rows, how much nearer its nearest row is than that row's own neighbours. A row in a crowd, where
    good features are common, counts for less than one that stands alone.

    rows: (M, D). neighbours: rows that the crowd is judged by, the row itself among them; below 2
    the weight is 1. unit: of distances in the weight (LSFA's released code: the root of D).
    """

    origin: Tensor
    columns: Tensor
    lengths: Tensor

    def __init__(self, rows: npt.NDArray[np.float32], neighbours: int, unit: float = 1.0) -> None:
        super().__init__()
        self.unit = unit
        whole = torch.from_numpy(rows)
        self.register_buffer("origin", whole.mean(0))
        about = whole - self.origin
        self.register_buffer("columns", about.T.contiguous())  # (D, M)
        self.register_buffer("lengths", about.square().sum(1))  # (M,)
        self.neighbours = min(neighbours, len(whole))
        self.least = SAME * float(self.lengths.max())  # what is closer is the same

    def forward(self, features: Tensor, counted: Tensor | None = None) -> Tensor:
        """counted: (N,) features that can be the farthest; None is all."""
        points = features - self.origin
        square = points.square().sum(1)
        # What fits a core's cache is soonest done. Slices would lie in the graph twice.
        lengths = torch.split(self.lengths, CHUNK)
        columns = torch.split(self.columns, CHUNK, dim=1)
        near = [
            torch.addmm(length, points, column, alpha=-2).amin(1)
            for length, column in zip(lengths, columns, strict=True)
        ]
        distance = (square + torch.stack(near).amin(0)).clamp_min(self.least).sqrt()
        if self.neighbours < 2:
            return distance
        far = distance if counted is None else distance * counted
        return distance * self._weight(points[far.argmax()])

    def _weight(self, point: Tensor) -> Tensor:  # (D,) → ()
        apart = self._apart(point)
        nearest = apart.argmin()
        row = self.columns[:, nearest]
        crowd = self._apart(row).topk(self.neighbours, largest=False).indices
        apart = apart / self.unit
        return 1 - torch.exp(apart[nearest] - torch.logsumexp(apart[crowd], 0)).clamp_max(1)

    def _apart(self, point: Tensor) -> Tensor:
        """(M,) distances of one point to all rows."""
        square = torch.addmm(self.lengths, point[None], self.columns, alpha=-2)[0]
        return (square + point.square().sum()).clamp_min(self.least).sqrt()


def nearest_place(points: Tensor, rows: Tensor) -> Tensor:
    """(N, D) points and (M, D) rows, M above 0 → (N,) place of the nearest row."""
    lengths = rows.square().sum(1)
    chunks = points.split(CHUNK)  # type: ignore[no-untyped-call]
    return torch.cat([torch.addmm(lengths, one, rows.T, alpha=-2).argmin(1) for one in chunks])
