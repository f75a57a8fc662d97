"""blemish weights on the command line, and what a fitted model says of its weights' licences."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import timm
import torch

import blemish
from blemish.artifact import open_artifact
from blemish.errors import ConfigError, WeightsError
from blemish.fitting import backbone_graph, choose, fit_folder
from blemish.methods import METHODS
from blemish.nets.pretrained import PRETRAINED
from blemish.nets.room import import_file
from blemish.nets.weights import find_weights
from blemish.provenance import require_cleared
from blemish.report.text import about
from commands import run as run_words
from weights_server import packed, serving, state

MAE, LITE0 = "point_mae", "tf_efficientnet_lite0"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return partial(run_words, capfd, "weights")


# the table


def test_the_table_names_the_presets_that_need_it() -> None:
    needed = {
        f"{method}/{preset}": set(config.pretrained())
        for method, kind in METHODS.items()
        for preset, config in kind.presets.items()
    }
    said: dict[str, set[str]] = {}
    for one in PRETRAINED.values():
        for preset in one.presets:
            said.setdefault(preset, set()).add(one.name)
    assert said == needed


def test_the_table_is_consistent() -> None:
    for one in PRETRAINED.values():
        assert len(one.sha256) == 64
        assert (one.url is None) == (one.package is not None)
        assert one.url is None or (one.url.startswith("https://") and one.url.endswith(one.file))
        if one.file.startswith(("resnet", "wide_resnet", "efficientnet")):  # as torchvision does it
            assert one.sha256.startswith(Path(one.file).stem.rpartition("-")[2])


# the verbs


def test_list_says_all_of_each(run: Run) -> None:
    code, out, _ = run("list")
    assert code == 0
    for one in PRETRAINED.values():
        assert f"{one.name}: " in out
        assert all(word in out for word in (one.licence, one.data, one.why, *one.presets))
    assert "point_mae: 348 MB" in out
    assert out.count(", here\n") == 1  # Lite0, in its package
    said = json.loads(run("list", "--json")[1])
    assert {one["name"]: bool(one["file_here"]) for one in said} == {
        name: name == LITE0 for name in PRETRAINED
    }


def test_import_verify_bundle_and_back(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mae.pth").write_bytes(packed(state()))
    code, out, err = run("import", tmp_path / "mae.pth")
    assert (code, out.startswith("point_mae: ")) == (0, True)
    assert "not the published pretrain.pth, so its licence is unknown" in err
    code, out, _ = run("verify")
    assert (code, out.count(": whole\n")) == (0, 2)
    code, out, _ = run("bundle", MAE, "-o", tmp_path / "one.bundle")
    assert (code, "blemish weights import one.bundle" in out) == (0, True)
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "elsewhere"))
    (said,) = map(
        json.loads, run("import", tmp_path / "one.bundle", "--json", "-q")[1].splitlines()
    )
    assert said == {MAE: str(find_weights(MAE, None))}
    code, _, err = run("import", tmp_path / "mae.pth", "--as", "resnet18")
    assert (code, "must hold the weights of 'resnet18'" in err) == (3, True)


def test_verify_tells_damage(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mae.pth").write_bytes(packed(state()))
    run("import", tmp_path / "mae.pth", "-q")
    path = find_weights(MAE, None)
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = run("verify")
    assert code == 1
    assert f"{path}: its sha256 is not the one in its name\n" in out
    assert "1 of 2 must go" in err
    said = json.loads(run("verify", "--json")[1])
    assert [bool(one["damage"]) for one in said] == [True, False]


def test_fetch_gets_what_a_preset_needs_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed(state())
    with serving(content) as server:
        changed = replace(
            PRETRAINED[MAE],
            url=server.url,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            presets=("later/paper",),
        )
        monkeypatch.setitem(PRETRAINED, MAE, changed)
        code, out, err = run("fetch", "later/paper")
        assert (code, out) == (0, f"point_mae: {find_weights(MAE, None)}\n")
        assert "not cleared for commercial use" in err
        assert run("fetch", MAE, LITE0)[0] == 0
        assert len(server.asked) == 1  # it was there
        server.quirks = ["404"]
        find_weights(MAE, None).unlink()
        code, _, err = run("fetch", MAE)
        assert (code, "404" in err) == (3, True)
    code, _, err = run("fetch", "padim/huge")
    assert (code, "'padim/huge' is neither" in err) == (3, True)


# fitting and licences


@pytest.fixture
def resnet18(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for torchvision's, in the table, too."""
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = timm.create_model("resnet18")
    file = tmp_path / PRETRAINED["resnet18"].file
    torch.save(net.state_dict(), file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(PRETRAINED, "resnet18", replace(PRETRAINED["resnet18"], sha256=sha256))
    return file


def test_a_preset_works_after_import(resnet18: Path, demo: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="Run: blemish weights fetch resnet18"):
        fit_folder(demo, preset="paper", settings={"size": 64})
    import_file(resnet18)
    part = fit_folder(demo, preset="paper", settings={"size": 64}).save(tmp_path / "p.blemish")
    stored = open_artifact(part)
    (weights,) = stored.about["weights"]
    assert (weights["name"], weights["licence"]) == ("resnet18", "BSD-3-Clause")
    assert (weights["commercial"], stored.about["commercial"]) == (False, False)
    assert weights["sha256"] == PRETRAINED["resnet18"].sha256
    told = about(stored)["licences"]
    assert "resnet18: BSD-3-Clause, not cleared for commercial use, learnt from ImageNet" in told


def test_commercial_is_refused_before_any_work(
    resnet18: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import_file(resnet18)
    out = tmp_path / "p.blemish"
    words = ("fit", tmp_path / "no such folder", "-o", out, "--commercial")
    code, _, err = run_words(capfd, *words, "--preset", "paper")
    assert (code, out.exists()) == (3, False)
    for word in ("'resnet18'", "BSD-3-Clause", "ImageNet", "padim/embedded", "fbft/paper",
                 "without --commercial"):  # fmt: skip
        assert word in err
    assert "padim/paper" not in err
    code, _, err = run_words(capfd, *words)
    assert (code, "no such folder" in err) == (3, True)  # Lite0 is cleared


def test_a_file_of_unknown_licence_is_refused(resnet18: Path, tmp_path: Path) -> None:
    config = choose("padim", "embedded", {"weights": str(resnet18)})[1]
    with pytest.raises(WeightsError, match="is not the published file: its licence is unknown"):
        require_cleared(config)
    require_cleared(choose("padim", "embedded", {})[1])
    with pytest.raises(ConfigError, match="but are 'vgg16'"):
        require_cleared(choose("padim", "embedded", {"backbone": "vgg16"})[1])


def test_what_is_no_backbone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backbone must be one of .* but is 'sam_vit_h'"):
        backbone_graph(choose("padim", "embedded", {"backbone": "sam_vit_h"})[1])


def test_the_manifest_says_that_commercial_was_asked_for(demo: Path, tmp_path: Path) -> None:
    model = blemish.fit(demo, settings={"size": 64}, commercial=True)
    told = about(open_artifact(model.save(tmp_path / "p.blemish")))["licences"]
    assert told.startswith(f"{LITE0}: Apache-2.0, cleared for commercial use")
    assert told.endswith("; fitted with --commercial")


def test_models_of_older_versions_still_tell_their_licence(demo: Path, tmp_path: Path) -> None:
    model = blemish.fit(demo, settings={"size": 64})
    for key in ("weights", "commercial"):
        del model.artifact.about[key]
    stored = open_artifact(model.save(tmp_path / "old.blemish"))
    assert about(stored)["licences"] == "weights Apache-2.0"
