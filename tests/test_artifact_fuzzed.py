"""part.blemish under fire: flipped bytes and nonsense give a sentence or the same model."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish import cli
from blemish.artifact import GRAPH, MANIFEST, open_artifact
from blemish.errors import ArtifactError
from blemish.sensors import Sensor
from graphs import several

GOLDEN = Path(__file__).parent / "golden" / "part-v1.blemish"


def packed(members: list[tuple[str, bytes]], how: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, how)
    return buffer.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


WHOLE = GOLDEN.read_bytes() if GOLDEN.exists() else b""


@settings(max_examples=400, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4)
)
def test_flipped_bytes_are_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(WHOLE)
    for position, change in flips:
        # every other flip goes where zip keeps its own numbers
        where = position // 2 % len(data) if position % 2 else -1 - position // 2 % 180
        data[where] ^= change
    path = tmp_path_factory.getbasetemp() / "flipped.blemish"
    path.write_bytes(bytes(data))
    try:
        opened = open_artifact(path)
    except ArtifactError:
        return
    assert opened == open_artifact(GOLDEN)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), value=json_values)
def test_nonsense_in_a_manifest_never_gives_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, value: object
) -> None:
    inside = members(WHOLE)
    manifest = json.loads(inside[MANIFEST])
    key = data.draw(st.sampled_from(sorted(manifest)))
    if isinstance(manifest[key], dict) and data.draw(st.booleans()):
        manifest[key][data.draw(st.sampled_from(sorted(manifest[key])))] = value
    else:
        manifest[key] = value
    path = tmp_path_factory.getbasetemp() / "nonsense.blemish"
    path.write_bytes(packed([(MANIFEST, json.dumps(manifest).encode()), (GRAPH, inside[GRAPH])]))
    try:
        opened = open_artifact(path)
    except ArtifactError:
        return
    assert opened.calibration.threshold <= opened.calibration.scores[-1]


@pytest.fixture(scope="module")
def told_several(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    """Members of models of three modalities, without a sensor and with one."""
    folder = tmp_path_factory.mktemp("several")
    sensors = (None, Sensor(kind="points", pattern="../scans/{stem}.ply"))
    made = [several("infrared", sensor=sensor) for sensor in sensors]
    return [members(one.save(folder / "part.blemish").read_bytes()) for one in made]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), value=json_values, which=st.integers(0, 1))
def test_nonsense_about_modalities_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory,
    told_several: list[dict[str, bytes]],
    data: st.DataObject,
    value: object,
    which: int,
) -> None:
    inside = told_several[which]
    manifest = json.loads(inside[MANIFEST])
    key = data.draw(st.sampled_from(["sight", "parted", "sensor", "others"]))
    told = {key: manifest[key]}
    manifest |= changed(told, value, lambda count: data.draw(st.integers(0, count - 1)))
    if data.draw(st.booleans()):
        manifest.pop(data.draw(st.sampled_from(["sight", "parted", "sensor", "others"])), None)
    path = tmp_path_factory.getbasetemp() / "several.blemish"
    path.write_bytes(packed([(MANIFEST, json.dumps(manifest).encode()), (GRAPH, inside[GRAPH])]))
    try:
        opened = open_artifact(path)
    except ArtifactError as error:
        assert "several.blemish" in str(error)
        return
    if opened.sight is None:
        assert opened.parted == {}
        return
    wanted = {"+".join(choice) for choice in opened.sight.choices()[1:]}
    assert set(opened.parted) == wanted
    for modality in opened.sight.modalities:
        assert opened.calibration_without([modality]).threshold <= 0.5
    again = open_artifact(opened.save(path))
    assert again == opened


ROW = {"made": 3, "found": 1, "interval": [0.1, 0.7], "image_auroc": 0.8, "aupro_30": 0.5,
       "area_px": [12, 90]}  # fmt: skip
TOLD = {
    "data": {"folder": "made up", "used": 19, "smallest": [8, 9], "largest": [16, 18]},
    "rehearsal": {
        "how": "held out",
        "seed": 0,
        "good": {"parts": 9, "called": 1, "interval": [0.0, 0.4]},
        "all": ROW,
        "image_auroc_interval": [0.6, 0.9],
        "kinds": {"scratch": ROW},
        "sizes": [ROW],
        "not_made": {"blur": {"count": 2, "reason": "none could be seen"}},
    },
}


def info(folder: Path, told: dict[str, Any]) -> str:
    """What `blemish info` prints of a model whose manifest says so."""
    inside = members(WHOLE)
    manifest = json.dumps(json.loads(inside[MANIFEST]) | told).encode()
    path = folder / "told.blemish"
    path.write_bytes(packed([(MANIFEST, manifest), (GRAPH, inside[GRAPH])]))
    with redirect_stdout(io.StringIO()) as said:
        cli.info(path)
    return said.getvalue()


def changed(told: Any, value: object, draw: Callable[[int], int]) -> Any:
    """A copy with one place, at any depth, put to another value or left out."""
    keys = sorted(told) if isinstance(told, dict) else range(len(told))
    key = keys[draw(len(keys))]
    copy = told.copy()
    if isinstance(copy[key], (dict, list)) and draw(4):
        copy[key] = changed(copy[key], value, draw)
    elif draw(3):
        copy[key] = value
    else:
        del copy[key]
    return copy


def test_a_rehearsal_is_told(tmp_path: Path) -> None:
    assert "1 of   3" in info(tmp_path, TOLD)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), value=json_values)
def test_nonsense_about_data_or_rehearsal_never_gives_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, value: object
) -> None:
    told = changed(TOLD, value, lambda count: data.draw(st.integers(0, count - 1)))
    with suppress(ArtifactError):
        assert "promise" in info(tmp_path_factory.getbasetemp(), told)


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        ("how", "guessed", "guessed"),
        ("how", [], "unhashable"),
        ("good", 5, "not subscriptable"),
        ("kinds", {"scratch": [1]}, "indices"),
        ("sizes", 3, "not iterable|zip"),
        ("all", {**ROW, "interval": ["x", "y"]}, "format"),
        ("all", {**ROW, "aupro_30": 10**400}, "too large"),
        ("all", {**ROW, "image_auroc": None}, "format"),
        ("image_auroc_interval", [1, 2, 3], "too many"),
        ("not_made", [["blur", 3]], "items"),
    ],
)
def test_rehearsals_of_wrong_types_are_refused(
    tmp_path: Path, place: str, value: object, match: str
) -> None:
    odd = {"rehearsal": {**TOLD["rehearsal"], place: value}}
    with pytest.raises(ArtifactError, match=f"how its rehearsal went as blemish fit.*({match})"):
        info(tmp_path, TOLD | odd)


def test_models_that_do_not_say_where_they_came_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"where it came from .* misstates 'smallest'"):
        info(tmp_path, {})
