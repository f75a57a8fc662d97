"""The doctor's page: whole, by itself, and safe whatever the files are called."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from trees import grow, picture

from blemish.data.doctor import examine
from blemish.errors import DataError
from blemish.report.checkup import MEMBERS, SINGLES, write_checkup


def written(root: Path, folder: Path) -> str:
    page = write_checkup(folder, examine(root), command="blemish data doctor x")
    assert page == folder / "doctor.html"
    return page.read_text(encoding="utf-8")


def grain(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (40, 50), dtype=np.uint8)


def test_a_clean_set(tmp_path: Path) -> None:
    for n in range(4):
        picture(tmp_path / f"set/{n}.png", grain(n))
    page = written(tmp_path / "set", tmp_path)
    assert "Nothing found that would hurt." in page
    assert "layout images: 4 to learn from, 4 to test" in page
    assert "blemish data doctor x" in page


def test_pictures_of_each_finding_and_no_more_than_fit(tmp_path: Path) -> None:
    for n in range(SINGLES + 5):
        picture(tmp_path / f"set/{n:03}.png", grain(n))
        grow(tmp_path, f"set/{n:03}x.png")
    for n in range(MEMBERS + 2):
        picture(tmp_path / f"set/twin{n}.png", grain(999))
    page = written(tmp_path / "set", tmp_path)
    assert page.count("no picture") == SINGLES
    assert page.count(">and 2 more<") == 1
    assert "And 5 more" in page
    assert page.count("data:image/jpeg") == MEMBERS
    assert "<strong>2 findings.</strong>" in page


def test_nothing_comes_from_elsewhere_and_names_are_only_names(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>".replace("/", "")
    picture(tmp_path / "set" / f"{evil}.png", grain(0))
    picture(tmp_path / "set" / "b.png", grain(0))
    page = written(tmp_path / "set", tmp_path)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)


def test_a_set_that_cannot_be_read_and_what_is_not_used(tmp_path: Path) -> None:
    grow(tmp_path, "set/good/1.png", "set/dent/1.png", "set/masks/dent/2.png")
    assert "must be the mask of an image" in written(tmp_path / "set", tmp_path)
    picture(tmp_path / "other/good/1.png", grain(0))
    grow(tmp_path, "other/loose.png")
    assert "outside of its sub-folders not used: 1" in written(tmp_path / "other", tmp_path)


def test_page_that_cannot_be_written(tmp_path: Path) -> None:
    picture(tmp_path / "set/1.png", grain(0))
    grow(tmp_path, "file")
    with pytest.raises(DataError, match="must be writable"):
        write_checkup(tmp_path / "file", examine(tmp_path / "set"), command="x")
