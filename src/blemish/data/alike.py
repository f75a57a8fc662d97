"""Which pictures of a set are nearly the same, which stand apart, and which form groups of light.

Plain statistics of thumbnails, no network. How the thresholds were chosen: docs/data.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from blemish.data.looks import Look

Numbers = npt.NDArray[np.float64]  # (N,)
Rows = npt.NDArray[np.float32]  # (N, D)
Pairs = list[tuple[int, int]]

NEIGHBOUR = 8  # more pictures than anyone takes of one part
CLOSE = 0.15  # distance of near duplicates, of the distance to the 8th neighbour
COMMON = 32  # directions in which parts usually vary; of few pictures, one for every five
ENOUGH = 40  # pictures from which these directions can be told
ALIKE, CHANCE = 0.6, 8.0  # correlation of near duplicates in all other directions: 0.6 + 8 / N
APART = 4.5  # robust standard deviations
SETTLED = 10  # good pictures below which the spread cannot be told
CROWD = 20  # good pictures below which groups cannot be told
TWO_GROUPS = 0.85  # share of the variance of brightness that two groups explain
STEP = 0.06  # of full scale between the groups' means
_BLOCK = 1024


def thumbnails(looks: Sequence[Look]) -> Rows:
    """(N, 1024) thumbnails without their mean, of length 1; a flat picture stays 0."""
    rows = np.stack([one.thumbnail.reshape(-1) for one in looks])
    return _unit(rows - rows.mean(axis=1, keepdims=True))


def _unit(rows: Rows) -> Rows:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-6), np.float32)


def near_pairs(rows: Rows) -> Pairs:
    """Pairs of pictures that show the same part, from thumbnails of pictures that all differ.

    Either they are much closer to each other than to their 8th neighbours, or, in sets of 40 and
    more, they agree in what is left once the most common variations are taken out.
    """
    pairs = set(_close_pairs(rows))
    if len(rows) >= ENOUGH:
        pairs |= set(_agreeing_pairs(rows))
    return sorted(pairs)


def _close_pairs(rows: Rows) -> Iterable[tuple[int, int]]:
    far = neighbour_distances(rows)
    for start, likeness in _blocks(rows):
        distance = np.sqrt(np.maximum(2 - 2 * likeness, 0))
        limit = CLOSE * np.minimum(far[start : start + len(distance), None], far[None])
        yield from _upper(distance < limit, start)


def _agreeing_pairs(rows: Rows) -> Iterable[tuple[int, int]]:
    for start, likeness in _blocks(_without_common(rows)):
        yield from _upper(likeness > ALIKE + CHANCE / len(rows), start)


def _without_common(rows: Rows) -> Rows:
    """Rows less the directions in which they vary most, at length 1."""
    centred = rows - rows.mean(axis=0)
    count = min(COMMON, len(rows) // 5)
    if len(rows) < rows.shape[1]:  # the smaller of two matrices with the same eigenvalues
        _, weights = np.linalg.eigh(centred @ centred.T)
        common = weights[:, -count:]
        return _unit(centred - common @ (common.T @ centred))
    _, directions = np.linalg.eigh(centred.T @ centred)
    common = directions[:, -count:]
    return _unit(centred - centred @ common @ common.T)


def _blocks(rows: Rows) -> Iterable[tuple[int, Rows]]:
    for start in range(0, len(rows), _BLOCK):
        yield start, rows[start : start + _BLOCK] @ rows.T


def _upper(hit: npt.NDArray[np.bool_], start: int) -> Pairs:
    return [(int(i) + start, int(j)) for i, j in np.argwhere(hit) if i + start < j]


def neighbour_distances(rows: Rows) -> Numbers:
    """(N,) distance of each thumbnail to its 8th neighbour, or to the middle one of fewer."""
    nth = min(NEIGHBOUR, (len(rows) - 1) // 2)
    found = [
        np.sqrt(np.maximum(2 - 2 * np.partition(likeness, -1 - nth, axis=1)[:, -1 - nth], 0))
        for _, likeness in _blocks(rows)
    ]
    return np.asarray(np.concatenate(found), np.float64)


def groups(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Joins pairs that share a member.

    >>> groups([(0, 4), (2, 3), (4, 7)])
    [[0, 4, 7], [2, 3]]
    """
    group_of: dict[int, list[int]] = {}
    for a, b in pairs:
        first, second = group_of.setdefault(a, [a]), group_of.setdefault(b, [b])
        if first is not second:
            first += second
            for member in second:
                group_of[member] = first
    return sorted({id(group): sorted(group) for group in group_of.values()}.values())


def traits(looks: Sequence[Look]) -> dict[str, Numbers]:
    """Trait → (N,) values; brightness and tint in shares of full scale, others as logarithms."""
    white = full_scale(looks)
    level, contrast, detail, tint = (
        np.array([getattr(one, name) for one in looks], dtype=np.float64) / white
        for name in ("level", "contrast", "detail", "tint")
    )
    return {
        "brightness": level,
        "contrast": np.log(contrast + 1e-3),
        "sharpness": np.log((detail + 1e-4) / (contrast + 1e-3)),
        "tint": tint,
        "layout of the picture": np.log(neighbour_distances(thumbnails(looks)) + 1e-3),
    }


def full_scale(looks: Sequence[Look]) -> Numbers:
    """(N,) 255, or for 16-bit files the brightest value in any of them, as for floats: cameras of
    10 and 12 bits write their pixels into 16-bit files as they are."""
    deep = {
        bits: max((one.peak for one in looks if one.bits == bits and one.peak > 0), default=1.0)
        for bits in (16, 32)
    }
    return np.array([255 if one.bits == 8 else deep[one.bits] for one in looks], dtype=np.float64)


# What a trait may spread at least, so that pictures that hardly differ are not called odd.
_FLOORS = {"brightness": 0.005, "tint": 0.005}
_FLOOR = 0.03


def outliers(looks: Sequence[Look]) -> dict[int, str]:
    """Index → in which trait a picture stands apart, for pictures of good parts.

    More than 4.5 · (1 + 10 / N) robust standard deviations (1.4826 · MAD) from the median; for the
    layout of the picture above it only. None when there are fewer than 10.
    """
    if len(looks) < SETTLED:
        return {}
    limit = APART * (1 + SETTLED / len(looks))
    found: dict[int, str] = {}
    for trait, values in traits(looks).items():
        off = values - np.median(values)
        spread = max(1.4826 * float(np.median(np.abs(off))), _FLOORS.get(trait, _FLOOR))
        if trait != "layout of the picture":
            off = np.abs(off)
        for index in np.flatnonzero(off > limit * spread):
            found.setdefault(int(index), trait)
    return found


def light_groups(levels: Numbers) -> tuple[list[int], list[int]] | None:
    """Indices of a darker and a brighter group of pictures; None if there are no two.

    levels: (N,) mean brightness in shares of full scale. Two groups explain 85 % of the variance
    (a Gaussian's best cut explains 64 %, a uniform's 75 %), their means are 0.06 apart, and each
    has 5 % of the pictures, and 3 at least. None of fewer than 20 pictures.
    """
    order = np.argsort(levels, kind="stable")
    ordered, n = levels[order], len(levels)
    least = max(3, -(-n // 20))
    total = float(ordered.var()) * n
    if n < CROWD or total == 0:
        return None
    cuts = np.arange(least, n - least + 1)
    sums = np.cumsum(ordered)
    low, high = sums[cuts - 1] / cuts, (sums[-1] - sums[cuts - 1]) / (n - cuts)
    explained = cuts * (n - cuts) / n * (high - low) ** 2 / total
    best = int(explained.argmax())
    if explained[best] < TWO_GROUPS or high[best] - low[best] < STEP:
        return None
    cut = int(cuts[best])
    return sorted(order[:cut].tolist()), sorted(order[cut:].tolist())
