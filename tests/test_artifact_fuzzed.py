"""part.blemish under fire: flipped bytes and nonsense give a sentence or the same model."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.artifact import GRAPH, MANIFEST, open_artifact
from blemish.errors import ArtifactError

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
