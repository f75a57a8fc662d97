"""The part alone: plane and crumbs go, the part stays whole, a second time changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from blemish import background as room
from blemish.background import Background, kept_part, without_background
from blemish.errors import ConfigError, DataError
from blemish.scans import Scan, scan_of
from scenes import on_a_table, tilted


@examples(max_examples=15)
@given(seed=st.integers(0, 999), tilt=st.floats(-0.6, 0.6), holes=st.floats(0, 0.15))
def test_the_part_is_left_and_a_second_time_changes_nothing(
    seed: int, tilt: float, holes: float
) -> None:
    scan, block, _ = on_a_table(seed, tilt=tilt, holes=holes)
    part = without_background(scan)
    assert not (part.seen & ~block).any()
    assert part.seen.sum() >= 0.97 * (block & scan.seen).sum()
    np.testing.assert_array_equal(part.points[part.seen], scan.points[part.seen])
    again = without_background(part)
    np.testing.assert_array_equal(again.seen, part.seen)
    np.testing.assert_array_equal(again.points, part.points)


def test_a_part_that_touches_the_border_stays_on_the_second_time() -> None:
    points = tilted((90, 120), (0.1, 0.0)).points.copy()
    points[40:52, :, 2] -= 0.03  # a rope from side to side
    part = without_background(scan_of(points))
    assert part.seen[40:52].all()
    assert not part.seen[:40].any()
    again = without_background(part)
    np.testing.assert_array_equal(again.seen, part.seen)


def test_without_a_plane_only_loose_pieces_go() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.indices((60, 60)) * 0.001
    waves = 0.5 + 0.05 * np.sin(columns * 150) + rng.normal(0, 2e-4, (60, 60))
    seen = np.ones((60, 60), np.bool_)
    seen[:, 50] = False
    part = without_background(
        scan_of(np.stack([columns, rows, waves], axis=2), seen), Background(gap=0.02, share=0.9)
    )
    assert part.seen[:, :50].all()
    assert not part.seen[:, 50:].any()


def test_one_seed_gives_one_plane() -> None:
    scan, *_ = on_a_table(3)
    first, again = without_background(scan), without_background(scan)
    np.testing.assert_array_equal(first.seen, again.seen)


@pytest.mark.parametrize(
    "scan",
    [
        scan_of(np.zeros((30, 30, 3))),
        tilted((30, 30), (0.1, 0.2)),
        scan_of(np.full((30, 30, 3), 0.3)),
        scan_of(np.stack([np.arange(900.0).reshape(30, 30) * 0.001] * 3, axis=2) + 1),
        tilted((1, 1), (0, 0)),
    ],
    ids=["nothing seen", "all background", "one point", "one line", "one pixel"],
)
def test_odd_scans_are_no_error(scan: Scan) -> None:
    part = without_background(scan)
    assert part.seen.shape == scan.seen.shape
    assert not (part.seen & ~scan.seen).any()


def test_masks_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, *_ = on_a_table()
    before = scan.points.copy(), scan.seen.copy()
    first = kept_part(scan, tmp_path)
    expected = without_background(scan)
    np.testing.assert_array_equal(first.seen, expected.seen)
    with monkeypatch.context() as patch:
        patch.setattr(room, "without_background", lambda *_: pytest.fail("computed again"))
        again = kept_part(scan, tmp_path)
    np.testing.assert_array_equal(again.seen, first.seen)
    np.testing.assert_array_equal(again.points, first.points)
    np.testing.assert_array_equal(scan.points, before[0])
    np.testing.assert_array_equal(scan.seen, before[1])
    (kept,) = tmp_path.iterdir()
    kept_part(scan, tmp_path, Background(cut=0.01))
    assert len(list(tmp_path.iterdir())) == 2  # other settings, another mask
    whole = kept.read_bytes()
    kept.write_bytes(b"x")  # damaged: made again
    np.testing.assert_array_equal(kept_part(scan, tmp_path).seen, expected.seen)
    assert kept.read_bytes() == whole
    kept.write_bytes(b"\xff" * len(whole))  # a mask never makes points of holes
    np.testing.assert_array_equal(kept_part(scan, tmp_path).seen, scan.seen)


def test_another_scan_has_its_own_mask(tmp_path: Path) -> None:
    scan, *_ = on_a_table(0)
    kept_part(scan, tmp_path)
    seen = scan.seen.copy()
    seen[45, 60] = False
    kept_part(Scan(points=scan.points, seen=seen), tmp_path)
    kept_part(on_a_table(1, holes=0.3)[0], tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("in the way")
    with pytest.raises(DataError, match=r"must be writable.*BLEMISH_CACHE"):
        kept_part(on_a_table()[0], tmp_path / "kept")


@pytest.mark.parametrize(
    "wrong",
    [{"band": 0}, {"within": -1.0}, {"cut": 0.0}, {"share": 1.5}, {"tries": 0}, {"seed": -1}],
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="settings of a background must be above 0"):
        Background(**wrong)  # type: ignore[arg-type]
