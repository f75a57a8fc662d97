"""part.blemish: opened only if it is whole, its own, and of this format."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import blemish
from blemish.artifact import GRAPH, LIMITS, MANIFEST, Artifact, open_artifact
from blemish.errors import ArtifactError, DataError
from blemish.sensors import Camera, Sensor
from blemish.shots import Sight
from graphs import artifact, several

GOLDEN = Path(__file__).parent / "golden" / "part-v1.blemish"


def written(of: Artifact, folder: Path) -> bytes:
    return of.save(folder / "part.blemish").read_bytes()


def packed(members: list[tuple[str, bytes]], how: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, how)
    return buffer.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def refused(folder: Path, data: bytes, match: str) -> None:
    path = folder / "bad part.blemish"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=match) as error:
        open_artifact(path)
    assert "bad part.blemish'" in str(error.value)
    assert str(error.value).endswith("fit again.")


@pytest.fixture
def good(tmp_path: Path) -> dict[str, bytes]:
    return members(written(artifact(), tmp_path))


# ---------------------------------------------------------------- there and back


def test_what_is_saved_is_what_is_opened(tmp_path: Path) -> None:
    made = artifact(
        fit="pad", interpolation="bicubic", boxes=((5, 2), (3, 1)), top=0.01, white=4095
    )
    path = made.save(tmp_path / "new folder" / "größe 1.blemish")
    assert open_artifact(path) == made
    assert open_artifact(str(path)) == made


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    first, second = written(artifact(), tmp_path / "a"), written(artifact(), tmp_path / "b")
    assert first == second


def test_nothing_executable_is_inside(good: dict[str, bytes]) -> None:
    assert sorted(good) == [GRAPH, MANIFEST]
    manifest = json.loads(good[MANIFEST])
    assert manifest["format"] == 1
    assert manifest["members"][GRAPH]["sha256"] == hashlib.sha256(good[GRAPH]).hexdigest()


def test_scores_that_are_no_numbers_are_never_written(tmp_path: Path) -> None:
    made = artifact()
    odd = replace(made, calibration=replace(made.calibration, extent=float("nan")))
    with pytest.raises(ValueError, match="JSON"):
        odd.save(tmp_path / "part.blemish")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = artifact().save(tmp_path / "part.blemish")
    old = path.read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="No space left"):
        artifact(top=0.5).save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_golden_file_of_format_1_opens_for_ever(tmp_path: Path) -> None:
    """Made once by `artifact().save(GOLDEN)` of tests/graphs.py, and never again."""
    opened = open_artifact(GOLDEN)
    assert written(opened, tmp_path) == GOLDEN.read_bytes()
    assert opened.frame == artifact().frame
    assert opened.calibration == artifact().calibration
    assert opened.about == artifact().about
    bright = np.zeros((16, 16), np.uint8)
    bright[4:8, 8:12] = 255
    prediction = blemish.load(GOLDEN).inspect(bright)
    assert prediction.verdict == "defect"
    assert prediction.score == 0.765625  # bilinear, half a pixel off the peak
    assert prediction.p_value == 1 / 20


# ---------------------------------------------------------------- damaged and hostile


def test_missing_folder_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none' must be a file .* No such file"):
        open_artifact(tmp_path / "none")
    with pytest.raises(ArtifactError, match="directory"):
        open_artifact(tmp_path)
    for other in (b"", b"hello", b"\x80\x04K\x01.", b"\x89PNG\r\n\x1a\n"):
        refused(tmp_path, other, "cannot be opened")


@pytest.mark.parametrize("part", [0.01, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, part: float) -> None:
    data = written(artifact(), tmp_path)
    refused(tmp_path, data[: int(len(data) * part)], "cannot be opened")


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "data.pkl", "a/../../b", "C:\\x", "graph.onnx/", "Graph.onnx"],
)
def test_other_members_are_refused_and_nothing_is_unpacked(
    tmp_path: Path, good: dict[str, bytes], name: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    evil = packed([*good.items(), (name, b"\x80\x04K\x01.")])
    refused(tmp_path, evil, "and nothing else")
    instead = packed([(MANIFEST, good[MANIFEST]), (name, good[GRAPH])])
    refused(tmp_path, instead, "and nothing else")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "bad part.blemish"])


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused(tmp_path: Path, good: dict[str, bytes]) -> None:
    refused(tmp_path, packed([*good.items(), (GRAPH, b"other")]), "and nothing else")


def test_missing_members_are_refused(tmp_path: Path, good: dict[str, bytes]) -> None:
    for name, data in good.items():
        refused(tmp_path, packed([(name, data)]), "and nothing else")
    refused(tmp_path, packed([]), "and nothing else")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, good: dict[str, bytes]
) -> None:
    bomb = packed([(MANIFEST, good[MANIFEST]), (GRAPH, bytes(10**8))], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10**6
    refused(tmp_path, bomb, "stored as it is")


def with_directory(data: bytes, offset: int, value: bytes, name: bytes) -> bytes:
    """The zip with bytes of a member's entry in its directory changed."""
    entry = data.rindex(b"PK\1\2", 0, data.rindex(name))
    changed = bytearray(data)
    changed[entry + offset : entry + offset + len(value)] = value
    return bytes(changed)


def test_declared_sizes_are_checked(tmp_path: Path) -> None:
    data = written(artifact(), tmp_path)
    huge = with_directory(data, 24, struct.pack("<I", LIMITS[GRAPH] + 1), GRAPH.encode())
    refused(tmp_path, huge, "but declares 2,147,483,649")
    huge = with_directory(data, 24, struct.pack("<I", LIMITS[MANIFEST] + 1), MANIFEST.encode())
    refused(tmp_path, huge, "but declares")
    longer = with_directory(data, 20, struct.pack("<II", 10**9, 10**9), GRAPH.encode())
    refused(tmp_path, longer, "again")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    data = written(artifact(), tmp_path)
    refused(tmp_path, with_directory(data, 8, b"\1\0", GRAPH.encode()), "cannot be opened")


def test_unknown_compression_is_refused(tmp_path: Path) -> None:
    data = written(artifact(), tmp_path)
    refused(tmp_path, with_directory(data, 10, b"\x63\0", GRAPH.encode()), "stored as it is")


def test_another_graph_is_refused(tmp_path: Path, good: dict[str, bytes]) -> None:
    for other in (b"", good[GRAPH][:-1] + b"\0", good[GRAPH] + b"\0"):
        refused(tmp_path, packed([(MANIFEST, good[MANIFEST]), (GRAPH, other)]), "but is")


def test_a_changed_byte_in_the_file_is_noticed(tmp_path: Path) -> None:
    data = bytearray(written(artifact(), tmp_path))
    data[data.index(b'"extent"') + 12] ^= 1
    refused(tmp_path, bytes(data), "Bad CRC-32")


@pytest.mark.parametrize("number", [0, 2, None, "1", [1], 1.5])
def test_other_formats_are_refused_by_name(
    tmp_path: Path, good: dict[str, bytes], number: object
) -> None:
    changed = json.loads(good[MANIFEST]) | {"format": number}
    data = packed([(MANIFEST, json.dumps(changed).encode()), (GRAPH, good[GRAPH])])
    refused(tmp_path, data, "must have format 1")


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{", b"[]", b"1", b"\xff\xfe", b"[" * 100_000, b'{"format": 1, "x": NaN}'],
    ids=["empty", "cut", "list", "number", "bytes", "deep", "nan"],
)
def test_manifests_that_are_no_json_object_are_refused(
    tmp_path: Path, good: dict[str, bytes], manifest: bytes
) -> None:
    data = packed([(MANIFEST, manifest), (GRAPH, good[GRAPH])])
    refused(tmp_path, data, r"manifest\.json (is not JSON|must be a JSON object)")


def nothing(manifest: dict[str, Any], *path: str) -> None:
    *inside, last = path
    for key in inside:
        manifest = manifest[key]
    del manifest[last]


def put(value: object, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        *inside, last = path
        for key in inside:
            manifest = manifest[key]
        manifest[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: nothing(m, "frame"), "frame"),
        (lambda m: nothing(m, "calibration"), "calibration"),
        (lambda m: nothing(m, "members"), "but is"),
        (lambda m: nothing(m, "frame", "size"), "size"),
        (lambda m: nothing(m, "calibration", "extent"), "extent"),
        (put(0, "frame", "new"), "new"),
        (put([], "frame"), "misstates"),
        (put([8], "frame", "size"), "misstates"),
        (put([0, 8], "frame", "size"), "frame's size"),
        (put([10**6, 10**6], "frame", "size"), "frame's size"),
        (put("cut", "frame", "fit"), "frame's fit"),
        (put({"side": 31, "overlap": 0}, "frame", "tiles"), "side of its tiles"),
        (put({"side": 10**6, "overlap": 0}, "frame", "tiles"), "side of its tiles"),
        (put({"side": 64.0, "overlap": 0}, "frame", "tiles"), "side of its tiles"),
        (put({"side": 64, "overlap": 33}, "frame", "tiles"), "overlap of its tiles"),
        (put({"side": 64, "overlap": -1}, "frame", "tiles"), "overlap of its tiles"),
        (put({"side": 64}, "frame", "tiles"), "misstates"),
        (put("all", "frame", "tiles"), "misstates"),
        (put("nearest", "frame", "interpolation"), "frame's interpolation"),
        (put([[4, 1]], "frame", "boxes"), "frame's boxes"),
        (put([[5, 10**9]], "frame", "boxes"), "frame's boxes"),
        (put([[5, 1]] * 1000, "frame", "boxes"), "frame's boxes"),
        (put(2, "frame", "top"), "frame's top"),
        (put("x", "frame", "top"), "misstates"),
        (put(0, "frame", "white"), "frame's white"),
        (put([], "calibration", "scores"), "calibration's scores"),
        (put([0.1], "calibration", "peaks"), "calibration's scores"),
        (put(list(range(19, 0, -1)), "calibration", "scores"), "ascending"),
        (put([1e999] * 19, "calibration", "scores"), "not JSON"),
        (put("high", "calibration", "extent"), "misstates"),
        (put(1, "calibration", "false_alarms"), "false_alarms"),
        (put("guessed", "calibration", "how"), "how it was calibrated"),
        (put([], "data"), "data"),
        (put("x", "versions"), "versions"),
        (put([["x"]], "data", "sha256"), "sha256"),
        (put({"": 1}, "members"), "but is"),
    ],
)
def test_misstated_manifests_are_refused(
    tmp_path: Path,
    good: dict[str, bytes],
    change: Callable[[dict[str, Any]], None],
    match: str,
) -> None:
    manifest = json.loads(good[MANIFEST])
    change(manifest)
    data = packed([(MANIFEST, json.dumps(manifest).encode()), (GRAPH, good[GRAPH])])
    refused(tmp_path, data, match)


def test_numbers_beyond_all_bounds_are_refused(tmp_path: Path, good: dict[str, bytes]) -> None:
    text = good[MANIFEST].decode()
    for number in ("1e999", "9" * 400):
        changed = text.replace('"extent": 0.25', f'"extent": {number}').encode()
        assert changed != good[MANIFEST]
        refused(tmp_path, packed([(MANIFEST, changed), (GRAPH, good[GRAPH])]), "misstates")


def test_checksums_do_not_replace_the_hash(tmp_path: Path, good: dict[str, bytes]) -> None:
    """A forger can repair zip's checksums; the hash in the manifest still tells."""
    forged = bytearray(good[GRAPH])
    forged[-1] ^= 1
    data = packed([(MANIFEST, good[MANIFEST]), (GRAPH, bytes(forged))])
    assert zlib.crc32(bytes(forged)).to_bytes(4, "little") in data
    refused(tmp_path, data, "sha256")


# ---------------------------------------------------------------- several modalities

PLACED = Camera(focal=(9.0, 9.0), centre=(3.5, 2.0))
SENSORS = [
    None,
    Sensor(kind="points", pattern="../scans/{stem}.ply", scale=0.001, background=True),
    Sensor(
        kind="depth",
        pattern="{stem-_rgb}_d.png",
        camera=Camera(focal=(500.0, 501.0), centre=(9.0, 8.0)),
    ),
    Sensor(kind="disparity", pattern="../d/{stem}.*"),
    Sensor(
        kind="disparity", pattern="d/{stem}.png", camera=Camera(focal=(9.0, 9.0)), baseline=0.12
    ),
]


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("others", [(), ("infrared",), ("left", "right-1")])
def test_several_modalities_come_back(
    tmp_path: Path, sensor: Sensor | None, others: tuple[str, ...]
) -> None:
    made = several(*others, sensor=sensor)
    opened = open_artifact(made.save(tmp_path / "part.blemish"))
    assert opened == made
    assert opened.sight is not None
    assert isinstance(opened.sight.pictures, tuple)
    assert opened.sight.choices() == made.sight.choices()  # type: ignore[union-attr]
    assert len(opened.parted) == 2 ** len(opened.sight.modalities) - 2
    assert written(opened, tmp_path) == written(made, tmp_path)


def test_photographs_under_several_lights_need_no_scan(tmp_path: Path) -> None:
    made = several("left", points=False)
    opened = open_artifact(made.save(tmp_path / "part.blemish"))
    assert opened == made
    assert set(opened.parted) == {"photograph", "left"}


@pytest.mark.parametrize("stretch", [0.1, 1.0, 3.14159e-7])
def test_the_stretch_comes_back_to_the_bit(tmp_path: Path, stretch: float) -> None:
    sight = Sight(pictures=("photograph",), points="fpfh", grid=4, stretch=stretch)
    made = several(sight=sight)
    assert open_artifact(made.save(tmp_path / "part.blemish")).sight == sight


def test_models_of_photographs_say_nothing_of_modalities(good: dict[str, bytes]) -> None:
    assert not {"sight", "parted", "sensor", "others"} & set(json.loads(good[MANIFEST]))


def less(*path: str) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: nothing(manifest, *path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (put([], "sight"), "misstates"),
        (put({}, "sight"), "pictures"),
        (put("photograph", "sight"), "misstates"),
        (put("photograph", "sight", "pictures"), "the pictures"),
        (put([], "sight", "pictures"), "the pictures"),
        (put(["infrared"], "sight", "pictures"), "the pictures"),
        (put(["infrared", "photograph"], "sight", "pictures"), "the pictures"),
        (put(["photograph", "infrared", "infrared"], "sight", "pictures"), "the pictures"),
        (put(["photograph", 5], "sight", "pictures"), "its calibrations"),
        (put(["photograph", "points"], "sight", "pictures"), "its calibrations"),
        (put([*"abcdefgh"], "sight", "pictures"), "the pictures"),
        (put(["photograph", *"abcdefgh"], "sight", "pictures"), "the modalities"),
        (put(["photograph"] * 10**5, "sight", "pictures"), "the pictures"),
        (put("cloud", "sight", "points"), "the points"),
        (put(None, "sight", "points"), "the points"),
        (put(["fpfh"], "sight", "points"), "the points"),
        (put("none", "sight", "points"), "its calibrations"),
        (put(0, "sight", "grid"), "the grid"),
        (put(-4, "sight", "grid"), "the grid"),
        (put(10**9, "sight", "grid"), "the grid"),
        (put(4.0, "sight", "grid"), "the grid"),
        (put(True, "sight", "grid"), "the grid"),
        (put("4", "sight", "grid"), "the grid"),
        (put(0.0, "sight", "stretch"), "the stretch"),
        (put(-1.0, "sight", "stretch"), "the stretch"),
        (put(1, "sight", "stretch"), "the stretch"),
        (put("x", "sight", "stretch"), "the stretch"),
        (put(1, "sight", "new"), "misstates"),
        (less("sight", "grid"), "grid"),
        (less("sight", "points"), "points"),
        (less("parted"), "misstates"),
        (less("parted", "points"), "its calibrations"),
        (put({}, "parted"), "its calibrations"),
        (put(None, "parted"), "misstates"),
        (put([1], "parted"), "misstates"),
        (put({}, "parted", "points+photograph"), "misstates|scores"),
        (put([], "parted", "points"), "misstates"),
        (put([], "parted", "points", "scores"), "calibration's scores"),
        (put("high", "parted", "photograph", "extent"), "misstates"),
        (put(7, "parted", "photograph", "false_alarms"), "false_alarms"),
        (put({}, "sensor"), "a model's sensor must have kind"),
        (put("points", "sensor"), "a model's sensor must have kind"),
        (less("others"), "a model's further photographs must be"),
        (put({}, "others"), "where its pictures lie"),
        (put([], "others"), "a model's further photographs must be"),
        (put({"infrared": 5}, "others"), "a model's further photographs must be"),
        (put({"infrared": "/etc/{stem}"}, "others"), "a model's further photographs must be"),
        (put({"photograph": "{stem}.png"}, "others"), "a model's further photographs must be"),
        (put({"points": "{stem}.png"}, "others"), "a model's further photographs must be"),
    ],
)
def test_misstated_modalities_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], match: str
) -> None:
    inside = members(written(several("infrared"), tmp_path))
    manifest = json.loads(inside[MANIFEST])
    change(manifest)
    data = packed([(MANIFEST, json.dumps(manifest).encode()), (GRAPH, inside[GRAPH])])
    refused(tmp_path, data, match)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "points", "camera": {"focal": [1, 1], "centre": None}},
        {"scale": 0},
        {"scale": "1"},
        {"pattern": "../{stem}*/x.ply"},
        {"pattern": 5},
        {"background": 1},
        {"baseline": 0.1},
        {"new": 1},
    ],
)
def test_misstated_sensors_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    inside = members(written(several(sensor=SENSORS[1]), tmp_path))
    manifest = json.loads(inside[MANIFEST])
    manifest["sensor"] |= changes
    data = packed([(MANIFEST, json.dumps(manifest).encode()), (GRAPH, inside[GRAPH])])
    refused(tmp_path, data, "a model's sensor must have kind")


def test_numbers_of_modalities_beyond_all_bounds_are_refused(tmp_path: Path) -> None:
    inside = members(written(several(), tmp_path))
    for number in ("1e999", "-1e999", "9" * 400, "NaN"):
        changed = inside[MANIFEST].decode().replace('"stretch": 1.0', f'"stretch": {number}')
        assert changed.encode() != inside[MANIFEST]
        data = packed([(MANIFEST, changed.encode()), (GRAPH, inside[GRAPH])])
        refused(tmp_path, data, "stretch|not JSON")
