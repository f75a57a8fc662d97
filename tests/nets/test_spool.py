"""Arrays in a file for a while."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.cache import cache_folder
from blemish.errors import DataError
from blemish.nets import spool
from blemish.nets.spool import Array, spooled


def left() -> list[Path]:
    return [*cache_folder().glob(".points-*")]


@settings(max_examples=30)
@given(counts=st.lists(st.integers(0, 5), max_size=6), width=st.integers(1, 4))
def test_what_goes_in_comes_out(counts: list[int], width: int) -> None:
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(count, width)).astype(np.float32) for count in counts]
    with spooled(iter(images)) as found:
        assert len(found) == len(images)
        for one, back in zip(images, found, strict=True):
            assert back.dtype == np.float32
            assert np.array_equal(one, back)
            assert not back.size or not back.flags.writeable
    assert left() == []


def test_arrays_may_lie_in_any_order_in_memory() -> None:
    columns = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    with spooled([columns, np.arange(4.0).reshape(2, 2)]) as found:  # type: ignore[list-item]
        assert np.array_equal(found[0], columns)
        assert found[1].tolist() == [[0, 1], [2, 3]]


def test_one_array_at_a_time_is_in_memory() -> None:
    taken: list[int] = []

    def images() -> Iterator[Array]:
        for number in range(3):
            # what came before is written by now, as far as the file's buffer goes
            taken.append(sum(file.stat().st_size for folder in left() for file in folder.iterdir()))
            yield np.full((2**15, 1), number, np.float32)

    with spooled(images()) as found:
        assert [one[0, 0] for one in found] == [0, 1, 2]
    assert taken[0] == 0
    assert taken[2] >= 2**17


def test_an_error_inside_leaves_nothing_behind() -> None:
    with pytest.raises(ZeroDivisionError), spooled([np.zeros((1, 1), np.float32)]):
        assert len(left()) == 1
        raise ZeroDivisionError
    assert left() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_place_that_cannot_be_written_is_said(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(number, "No room")

    monkeypatch.setattr(spool.tempfile, "TemporaryDirectory", full)
    with pytest.raises(DataError, match=r"hold the features.*No room\. Free some"), spooled([]):
        pass


def test_a_cache_that_is_a_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="or set BLEMISH_CACHE to another folder"), spooled([]):
        pass
