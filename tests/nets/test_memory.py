"""The memory against the plain greedy loop and SciPy's distances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from blemish.errors import ConfigError, DataError, NotFittedError, ShapeError
from blemish.nets import memory as room
from blemish.nets.memory import Memory

Array = npt.NDArray[np.float32]
T = TypeVar("T")


def points(count: int, width: int, seed: int) -> Array:
    """Features as networks give them: clusters, a few directions that matter, some far away."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(0, 3, (5, width))
    spread = rng.normal(0, 1, (count, width)) * np.geomspace(2, 0.1, width)
    return (middles[rng.integers(5, size=count)] + spread + 7).astype(np.float32)


def images(count: int, each: int, width: int = 6, seed: int = 0) -> dict[str, Array]:
    return {f"i{n}": points(each, width, [seed, n]) for n in range(count)}  # type: ignore[arg-type]


def plain(whole: Array, count: int) -> tuple[list[int], float]:
    """Greedy k-centre as everybody writes it, in float64; and its radius."""
    wide = whole.astype(np.float64)
    chosen = [int(np.square(wide - wide.mean(0)).sum(1).argmax())]
    far = np.full(len(wide), np.inf)
    while True:
        far = np.minimum(far, np.linalg.norm(wide - wide[chosen[-1]], axis=1))
        if len(chosen) == count:
            return chosen, float(far.max())
        chosen.append(int(far.argmax()))


def places(memory: Memory) -> list[int]:
    """Rows as numbers among all points."""
    starts, start = {}, 0
    for name, block in memory.images.items():
        starts[name] = start
        start += len(block)
    return [starts[name] + place for name, place in memory.at]


def radius(memory: Memory) -> float:
    return float(cdist(np.concatenate(list(memory.images.values())), memory.rows).min(1).max())


@pytest.mark.parametrize(("candidates", "chunk"), [(2048, 1024), (3, 7), (40, 64), (1, 1000)])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_rows_are_those_of_the_plain_loop(
    monkeypatch: pytest.MonkeyPatch, candidates: int, chunk: int, share: float
) -> None:
    monkeypatch.setattr(room, "CANDIDATES", candidates)
    monkeypatch.setattr(room, "CHUNK", chunk)
    blocks = images(6, 50)
    memory = Memory(share=share)
    memory.add(blocks)
    whole = np.concatenate(list(blocks.values()))
    chosen, expected = plain(whole, int(share * len(whole)))
    assert places(memory) == chosen
    assert np.array_equal(memory.rows, whole[chosen])
    assert memory.radius == pytest.approx(expected, rel=1e-4)


@given(seed=st.integers(0, 10**6), side=st.integers(1, 4), count=st.integers(2, 60))
def test_equal_points_and_ties_cover_as_well_as_the_plain_loop(
    seed: int, side: int, count: int
) -> None:
    grid = np.random.default_rng(seed).integers(0, side, (count, 2)).astype(np.float32)
    memory = Memory(share=0.5)
    memory.add({"a": grid})
    _, expected = plain(grid, max(1, count // 2))
    # Where distances are equal the two may part ways; greedy is within twice the best of either.
    assert memory.radius <= 2 * expected + 1e-3
    assert radius(memory) == pytest.approx(memory.radius, abs=1e-2)


def test_no_row_twice_where_there_are_fewer_different_points() -> None:
    memory = Memory(share=1.0)
    memory.add({"a": np.repeat(points(5, 4, 0), 20, axis=0)})
    assert sorted(np.unique(memory.rows, axis=0).tolist()) == sorted(memory.rows.tolist())
    assert len(memory.at) == 5
    assert memory.radius == pytest.approx(0, abs=1e-2)


def test_a_limit_bounds_the_rows() -> None:
    memory = Memory(share=0.5, most=7)
    memory.add(images(2, 30))
    memory.add({"more": points(300, 6, 9)})
    assert len(memory.at) == 7


def test_points_on_disk_are_read_where_they_lie(tmp_path: Path) -> None:
    blocks = images(4, 2000)
    memory, from_disk = Memory(share=0.01), Memory(share=0.01)
    memory.add(blocks)
    whole = np.lib.format.open_memmap(
        tmp_path / "all.npy", mode="w+", dtype=np.float32, shape=(8000, 6)
    )
    whole[:] = np.concatenate(list(blocks.values()))
    whole.flush()
    kept = (tmp_path / "all.npy").read_bytes()
    whole = np.load(tmp_path / "all.npy", mmap_mode="r")
    from_disk.add({name: whole[2000 * i : 2000 * i + 2000] for i, name in enumerate(blocks)})
    assert from_disk.at == memory.at
    assert np.array_equal(from_disk.rows, memory.rows)
    assert (tmp_path / "all.npy").read_bytes() == kept


def test_images_come_later_and_are_covered_as_well() -> None:
    blocks = images(10, 100)
    at_once, one_by_one = Memory(share=0.1), Memory(share=0.1)
    at_once.add(blocks)
    for name, block in blocks.items():
        before = list(one_by_one.at)
        one_by_one.add({name: block})
        assert one_by_one.at[: len(before)] == before  # what was chosen stays
    assert len(one_by_one.at) == len(at_once.at) == 100
    assert one_by_one.radius <= 1.25 * at_once.radius
    assert one_by_one.radius == pytest.approx(radius(one_by_one), rel=1e-4)


def test_one_image_added_to_many_is_as_good_as_starting_over() -> None:
    blocks = images(30, 60)
    grown, again = Memory(share=0.1), Memory(share=0.1)
    grown.add({name: block for name, block in blocks.items() if name != "i7"})
    grown.add({"i7": blocks["i7"]})
    again.add(blocks)
    assert len(grown.at) == len(again.at)
    assert grown.radius <= 1.05 * again.radius


def test_a_forgotten_image_leaves_no_row_and_no_hole() -> None:
    memory = Memory(share=0.1)
    memory.add(images(20, 60))
    rows, covered = len(memory.at), memory.radius
    memory.remove(["i3", "i11"])
    again = Memory(share=0.1)
    again.add({name: block for name, block in images(20, 60).items() if name not in ("i3", "i11")})
    assert {"i3", "i11"} & {name for name, _ in memory.at} == set()
    assert len(again.at) <= len(memory.at) <= rows
    assert memory.radius == pytest.approx(radius(memory), rel=1e-4)
    assert memory.radius <= covered
    assert memory.radius <= 1.05 * again.radius


@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=12),
    share=st.sampled_from([0.05, 0.2, 0.6]),
    most=st.sampled_from([0, 9]),
)
def test_distances_stay_true_whatever_comes_and_goes(
    steps: list[tuple[bool, int]], share: float, most: int
) -> None:
    memory = Memory(share=share, most=most)
    for comes, number in steps:
        name = f"i{number}"
        if comes and name not in memory.images:
            memory.add({name: points(10 + 17 * number, 3, number)})
        if not comes and name in memory.images:
            memory.remove([name])
        assert {name for name, _ in memory.at} <= set(memory.images)
        assert len(set(memory.at)) == len(memory.at)
        if memory.images:
            total = sum(map(len, memory.images.values()))
            least = max(1, int(share * total))
            assert len(memory.at) >= (min(least, most) if most else least)
            assert memory.radius == pytest.approx(radius(memory), abs=2e-2)
        else:
            assert memory.at == []


def test_the_last_image_may_go_and_others_come() -> None:
    memory = Memory(share=0.2)
    memory.add({"a": points(40, 3, 1)})
    memory.remove(["a"])
    with pytest.raises(NotFittedError, match="Call add first"):
        memory.radius  # noqa: B018
    memory.add({"b": points(40, 5, 2)})  # of another width, too
    fresh = Memory(share=0.2)
    fresh.add({"b": points(40, 5, 2)})
    assert memory.at == fresh.at


def test_nothing_changes_by_forgetting_nothing() -> None:
    memory = Memory(share=0.2)
    memory.remove([])
    memory.add(images(2, 20))
    before = list(memory.at)
    memory.remove([])
    assert memory.at == before


def test_progress_counts_rows() -> None:
    told: list[int] = []

    def count(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
        for item in items:
            told.append(total)
            yield item

    memory = Memory(share=0.1)
    memory.add(images(3, 100), track=count)
    assert told == [29] * 29  # the first is there before the counting begins


def test_what_is_refused_leaves_the_memory_as_it_was() -> None:
    memory = Memory(share=0.1)
    memory.add(images(2, 20))
    before = list(memory.at), list(memory.images), memory.radius
    hurt = points(5, 6, 0)
    hurt[2, 3] = np.nan
    for wrong, error, said in (
        ({}, DataError, "at least one image, but got none"),
        ({"i1": points(5, 6, 0)}, DataError, "'i1' is in it"),
        ({"n": points(5, 4, 0)}, ShapeError, r"are \(5, 4\) beside \(20, 6\)"),
        ({"n": points(5, 6, 0)[0]}, ShapeError, r"are \(6,\)"),
        ({"n": points(5, 6, 0)[:0]}, ShapeError, r"are \(0, 6\)"),
        ({"n": points(5, 6, 0).astype(np.float64)}, DataError, "float64"),
        ({"ok": points(5, 6, 0), "n": hurt}, DataError, "1 are not finite"),
    ):
        with pytest.raises(error, match=said):
            memory.add(wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'i9' is not"):
        memory.remove(["i0", "i9"])
    assert (list(memory.at), list(memory.images), memory.radius) == before


@pytest.mark.parametrize(("share", "most"), [(0.0, 0), (1.1, 0), (0.5, -1), (float("nan"), 0)])
def test_settings_out_of_range(share: float, most: int) -> None:
    with pytest.raises(ConfigError, match=r"above 0 and at most 1"):
        Memory(share=share, most=most)
