"""The part alone: plane and crumbs go, the part stays whole, a second time changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from blemish import background as room
from blemish.background import Background, read_part, without_background
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


def test_masks_are_kept_and_data_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, *_ = on_a_table()
    file, folder = tmp_path / "s.npy", tmp_path / "kept"
    np.save(file, scan.points)
    before = file.read_bytes(), file.stat().st_mtime_ns
    first = read_part(file, folder)
    expected = without_background(scan)
    np.testing.assert_array_equal(first.seen, expected.seen)
    with monkeypatch.context() as patch:
        patch.setattr(room, "without_background", lambda *_: pytest.fail("computed again"))
        again = read_part(file, folder)
    np.testing.assert_array_equal(again.seen, first.seen)
    np.testing.assert_array_equal(again.points, first.points)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert len(list(folder.iterdir())) == 1
    read_part(file, folder, Background(cut=0.01))
    assert len(list(folder.iterdir())) == 2  # other settings, another mask
    (kept,) = [path for path in folder.iterdir() if path.stat().st_mtime_ns][:1]
    kept.write_bytes(b"x")  # damaged: made again
    assert read_part(file, folder).seen.any()


def test_another_file_of_the_same_name_has_its_own_mask(tmp_path: Path) -> None:
    scan, *_ = on_a_table(0)
    other, *_ = on_a_table(1, holes=0.3)
    np.save(tmp_path / "s.npy", scan.points)
    first = read_part(tmp_path / "s.npy", tmp_path / "kept")
    np.save(tmp_path / "s.npy", other.points)
    second = read_part(tmp_path / "s.npy", tmp_path / "kept")
    assert first.seen.sum() != second.seen.sum()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", on_a_table()[0].points)
    (tmp_path / "kept").write_text("in the way")
    with pytest.raises(DataError, match="must be writable"):
        read_part(tmp_path / "s.npy", tmp_path / "kept")


@pytest.mark.parametrize(
    "wrong",
    [{"band": 0}, {"within": -1.0}, {"cut": 0.0}, {"share": 1.5}, {"tries": 0}, {"seed": -1}],
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="settings of a background must be above 0"):
        Background(**wrong)  # type: ignore[arg-type]
