"""What is inspected: polygons, masks, their files and what a model keeps of them."""

from __future__ import annotations

import base64
import json
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from blemish import area as room
from blemish.area import Area, Outline, area_from_json, filled, read_area, read_outline
from blemish.artifact import open_artifact
from blemish.errors import ArtifactError, DataError, ImageError
from blemish.records import Mask
from graphs import artifact

HEIGHT, WIDTH = 19, 23
corners = st.tuples(st.floats(0, WIDTH, width=32), st.floats(0, HEIGHT, width=32))
polygons = st.lists(corners, min_size=3, max_size=9).map(tuple)
masks = st.binary(min_size=1, max_size=HEIGHT * WIDTH // 8).map(
    lambda data: np.resize(np.unpackbits(np.frombuffer(data, np.uint8)), (HEIGHT, WIDTH)) > 0
)
quick = settings(max_examples=80, deadline=None)
SQUARE = ((2.0, 3.0), (7.0, 3.0), (7.0, 5.0), (2.0, 5.0))


def saved(folder: Path, mask: Mask) -> Path:
    path = folder / "mask.png"
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return path


def written(folder: Path, stored: Any) -> Path:
    path = folder / "polygons.json"
    path.write_text(stored if isinstance(stored, str) else json.dumps(stored), encoding="utf-8")
    return path


# ---------------------------------------------------------------- geometry


def crossings(polygon: Any, x: float, y: float) -> int:
    """How many edges lie to the left of a point, one by one."""
    count = 0
    for (x0, y0), (x1, y1) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if (y0 <= y) != (y1 <= y):
            count += x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x
    return count


@quick
@given(polygon=polygons)
def test_a_pixel_is_inside_if_its_middle_is(polygon: Any) -> None:
    wanted = [
        [crossings(polygon, x + 0.5, y + 0.5) % 2 == 1 for x in range(WIDTH)] for y in range(HEIGHT)
    ]
    got = filled(polygon, (HEIGHT, WIDTH))
    # an edge that meets a middle but for rounding may be on either side of it
    assert np.count_nonzero(got != np.array(wanted)) <= 1


@quick
@given(
    x=st.integers(0, 20), y=st.integers(0, 16), size=st.tuples(st.integers(1, 3), st.integers(1, 3))
)
def test_rectangles_are_exact(x: int, y: int, size: tuple[int, int]) -> None:
    width, height = size
    box = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[y : y + height, x : x + width] = True
    seen = Area(roi=Outline(polygons=(box,))).seen((HEIGHT, WIDTH))
    assert np.array_equal(seen, wanted)
    if not wanted.all():
        ignored = Area(ignore=Outline(polygons=(box,))).seen((HEIGHT, WIDTH))
        assert np.array_equal(ignored, ~wanted)


@quick
@given(polygon=polygons)
def test_opencv_fills_the_same_but_for_the_border(polygon: Any) -> None:
    hull = cv2.convexHull(np.array(polygon, np.float32))[:, 0]
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(drawn, [np.rint((hull - 0.5) * 256).astype(np.int32)], 1, shift=8)
    got = filled(tuple(map(tuple, hull.tolist())), (HEIGHT, WIDTH))
    kernel = np.ones((3, 3), np.uint8)
    assert not (got & ~cv2.dilate(drawn, kernel).astype(bool)).any()
    assert not (cv2.erode(drawn, kernel, borderValue=0).astype(bool) & ~got).any()


def test_polygons_are_joined_and_ignored_ones_taken_out() -> None:
    roi = Outline(polygons=(SQUARE, ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))))
    ignore = Outline(polygons=(((2.0, 3.0), (4.0, 3.0), (4.0, 5.0), (2.0, 5.0)),))
    seen = Area(roi=roi, ignore=ignore).seen((6, 8))
    wanted = np.zeros((6, 8), bool)
    wanted[3:5, 4:7] = wanted[0, 0] = True
    assert np.array_equal(seen, wanted)
    assert not seen.flags.writeable


@pytest.mark.parametrize(("size", "what"), [((6, 6), "6 px wide"), ((4, 8), "4 px high")])
def test_polygons_must_lie_inside_the_image(size: tuple[int, int], what: str) -> None:
    with pytest.raises(ImageError, match=rf"all polygons of --roi, but is .*{what}.*corner at"):
        Area(roi=Outline(polygons=(SQUARE,))).seen(size)


def test_something_must_be_left() -> None:
    one = Outline(polygons=(SQUARE,))
    with pytest.raises(ImageError, match=r"--roi and --ignore leave none of 6 x 8"):
        Area(roi=one, ignore=one).seen((6, 8))


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    "stored",
    [
        [[list(corner) for corner in SQUARE]],
        {
            "shapes": [
                {"label": "part", "shape_type": "polygon", "points": [*map(list, SQUARE)]},
                {"label": "hole", "shape_type": "circle", "points": [[1, 1], [2, 2]]},
            ]
        },
    ],
    ids=["list", "labelme"],
)
def test_polygons_are_read(stored: Any, tmp_path: Path) -> None:
    assert read_outline(written(tmp_path, stored), "--roi") == Outline(polygons=(SQUARE,))


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("[[[0, 0], [1,", "Expecting"),
        ([], "there must be a polygon"),
        ([[[0, 0], [1, 1]]], "at least 3 corners"),
        ([[[0, 0], [1, 1], [2]]], "unpack"),
        ([[[0, 0], [1, 1], ["2", 3]]], "2 is no position"),
        ([[[0, 0], [1, 1], [True, 3]]], "True is no position"),
        ("[[[0, 0], [1, 1], [NaN, 3]]]", "nan is no position"),
        ([[[0, 0], [1, 1], [1e300, 3]]], "no position"),
        ([[[0, 0]] * 10_001], "at most 10,000 corners"),
        ({"polygons": []}, "shapes"),
        (3, "not iterable"),
        ("[" * 100_000, "recursion"),
        ("[" + " " * 2**21 + "]", "bytes, not at most"),
    ],
)
def test_other_files_of_polygons_are_refused(stored: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"file of --ignore, '.*polygons.json', .*{said}"):
        read_area(None, written(tmp_path, stored))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for name in ("none.json", "none.png"):
        with pytest.raises(ImageError, match=name):
            read_area(tmp_path / name, None)
    assert read_area(None, None) is None


@quick
@given(mask=masks)
def test_a_mask_stays_what_it_is(mask: Mask, tmp_path_factory: pytest.TempPathFactory) -> None:
    if not mask.any():
        return
    folder = tmp_path_factory.mktemp("mask")
    area = Area(roi=read_outline(saved(folder, mask), "--roi"))
    back = area_from_json(json.loads(json.dumps(asdict(area))))
    assert back == area
    assert np.array_equal(area.seen(mask.shape), mask)


def test_a_mask_fits_images_of_its_size_alone(tmp_path: Path) -> None:
    outline = read_outline(saved(tmp_path, np.eye(5, 7) > 0), "--roi")
    with pytest.raises(ImageError, match=r"size of the mask of --roi, 5 x 7, but is 7 x 5"):
        Area(roi=outline).seen((7, 5))


def test_an_empty_mask_and_noise_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"must mark some pixels"):
        read_outline(saved(tmp_path, np.zeros((5, 7), bool)), "--roi")
    monkeypatch.setattr(room, "MOST_BITS", 100)
    noise = np.random.default_rng(0).random((40, 70)) > 0.5
    with pytest.raises(DataError, match=r"takes? at most .*Draw it without noise"):
        read_outline(saved(tmp_path, noise), "--roi")


# ---------------------------------------------------------------- what a model keeps


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


GOOD = {"polygons": [], "size": [4, 6], "bits": packed(b"abc")}


def changed(**to: Any) -> dict[str, Any]:
    return {"roi": {**GOOD, **to}, "ignore": None}


def test_a_model_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = area_from_json(changed())
    made = artifact(area=kept)
    opened = open_artifact(made.save(tmp_path / "part.blemish"))
    assert opened == made
    assert opened.frame.area == kept


@pytest.mark.parametrize(
    "stored",
    [
        {"roi": None, "ignore": None},
        {"roi": None},
        {**changed(), "more": None},
        {"roi": {"size": None, "polygons": [[[0, 0], [1, 1]]], "bits": ""}, "ignore": None},
        changed(size=[4, 7]),
        changed(size=[4, True]),
        changed(size=[0, 6]),
        changed(size=[10**5, 10**5]),
        changed(size=[4]),
        changed(bits=3),
        changed(bits="?"),
        changed(bits=base64.b64encode(b"no zlib").decode()),
        changed(bits=packed(bytes(10**6))),
        changed(bits=packed(b"ab")),
        changed(bits="A" * (room.MOST_BITS + 1)),
        [],
        "roi",
    ],
)
def test_a_model_with_another_area_is_refused(stored: Any, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        area_from_json(stored)
    path = artifact(area=area_from_json(changed())).save(tmp_path / "part.blemish")
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        graph = archive.read("graph.onnx")
    manifest["frame"]["area"] = stored
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("graph.onnx", graph)
    with pytest.raises(ArtifactError, match="lacks or misstates"):
        open_artifact(path)
