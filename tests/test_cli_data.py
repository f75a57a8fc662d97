"""blemish data info and doctor, as a person or a machine meets them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from trees import grow, picture
from typer.main import get_command

import commands
from blemish import cli
from conftest import shared_data


def run(capfd: pytest.CaptureFixture[str], *words: object) -> commands.Done:
    return commands.run(capfd, "data", *words)


@pytest.fixture
def twins(demo: Path, tmp_path: Path) -> Path:
    """The demo with one picture twice."""
    root = Path(shutil.copytree(demo, tmp_path / "set"))
    shutil.copy(root / "train/good/003.jpg", root / "test/good/900.jpg")
    return root


@pytest.mark.parametrize("verb", ["info", "doctor"])
def test_every_option_has_a_sentence(capfd: pytest.CaptureFixture[str], verb: str) -> None:
    code, out, _ = run(capfd, verb, "--help")
    assert code == 0
    command = get_command(cli.app).commands["data"].commands[verb]  # type: ignore[attr-defined]
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert all(name in out for name in getattr(parameter, "opts", []))


def test_info_of_one_set(capfd: pytest.CaptureFixture[str], demo: Path) -> None:
    code, out, err = run(capfd, "info", demo)
    assert (code, err) == (0, "")
    lines = dict(line.split(":", 1) for line in out.splitlines())
    assert lines["layout"].strip() == "mvtec"
    assert lines["images"].strip() == "22"
    assert lines["sizes"].strip() == "300 x 360 (22)"
    assert lines["pixels"].strip() == "3 x 8 bits (22)"
    assert "good 3" in lines["test"]
    assert "good" not in lines["masks"]


def test_info_for_machines(capfd: pytest.CaptureFixture[str], demo: Path) -> None:
    _, out, _ = run(capfd, "info", demo, "--json")
    told = json.loads(out)
    assert told["train"] == {"good": 12}
    assert sum(told["test"].values()) == 10
    assert told["sizes"] == [{"size": [300, 360], "count": 22}]
    assert told["pixels"] == [{"channels": 3, "bits": 8, "count": 22}]
    assert (told["third"], told["unreadable"], told["notes"]) == ({}, [], [])


def test_info_of_unreadable_and_unused_files(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture(tmp_path / "good/1.png", np.zeros((4, 5), np.uint8))
    grow(tmp_path, "good/2.png", "loose.png")
    code, out, _ = run(capfd, "info", tmp_path, "-q")
    assert code == 0
    assert re.search(r"unreadable: .*2\.png' must be an image, but it is empty", out)
    assert re.search(r"note: .*not used: 1", out)


def test_info_of_several_sets(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    grow(tmp_path, "a/good/1.png", "a/dent/1.png", "b/train/good/readme.txt")
    code, out, _ = run(capfd, "info", tmp_path)
    assert code == 0
    assert re.search(r"holds 2 data sets:\n  a +types, train 1, test 2\n  b +.* must hold", out)
    _, out, _ = run(capfd, "info", tmp_path, "--json")
    first, second = json.loads(out)["categories"]
    assert (first["layout"], first["test"]) == ("types", {"dent": 1, "good": 1})
    assert "error" in second


@pytest.mark.parametrize("verb", ["info", "doctor"])
def test_refusals(capfd: pytest.CaptureFixture[str], tmp_path: Path, verb: str) -> None:
    code, out, err = run(capfd, verb, tmp_path / "nowhere")
    assert (code, out) == (3, "")
    assert "does not exist" in err
    code, _, err = run(capfd, verb, tmp_path, "--layout", "mvtek")
    assert code == 3
    assert "Did you mean mvtec?" in err


def test_layout_is_passed_on(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture(tmp_path / "a/1.png", np.zeros((4, 5), np.uint8))
    _, out, _ = run(capfd, "info", tmp_path, "--layout", "images", "--json")
    assert json.loads(out)["layout"] == "images"


def test_doctor_with_nothing_to_say(capfd: pytest.CaptureFixture[str], demo: Path) -> None:
    code, out, _ = run(capfd, "doctor", demo)
    assert (code, out) == (0, "22 pictures, 0 findings.\n")
    assert run(capfd, "doctor", demo, "-q") == (0, "", "")


def test_doctor_with_findings(
    capfd: pytest.CaptureFixture[str], twins: Path, tmp_path: Path
) -> None:
    code, out, err = run(capfd, "doctor", twins, "-o", tmp_path / "page", "--layout", "mvtec")
    assert code == 1
    assert "duplicates between train and test: 1 group of the same picture" in out
    assert "    test/good/900.jpg = train/good/003.jpg\n" in out
    assert "Move all pictures of one part to the same side" in out
    assert out.splitlines()[-1] == f"Page: {tmp_path / 'page' / 'doctor.html'}"
    page = (tmp_path / "page" / "doctor.html").read_text(encoding="utf-8")
    assert "--layout mvtec</pre>" in page
    assert err == ""


def test_doctor_for_machines(
    capfd: pytest.CaptureFixture[str], twins: Path, tmp_path: Path
) -> None:
    code, out, err = run(capfd, "doctor", twins, "--json", "-o", tmp_path)
    assert code == 1
    (finding,) = json.loads(out)["findings"]
    assert finding["kind"] == "duplicates between train and test"
    assert finding["groups"] == [
        [str(twins / "test/good/900.jpg"), str(twins / "train/good/003.jpg")]
    ]
    assert err == f"Page: {tmp_path / 'doctor.html'}\n"


def test_doctor_tells_what_is_not_used(
    capfd: pytest.CaptureFixture[str], demo: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(demo, tmp_path / "set"))
    grow(root, "train/bad/1.png")
    assert "images not used: 1" in run(capfd, "doctor", root)[2]
    assert run(capfd, "doctor", root, "-q") == (0, "", "")


def test_long_lists_are_cut_for_people(
    capfd: pytest.CaptureFixture[str], demo: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(demo, tmp_path / "set"))
    for n in range(7):
        shutil.copy(root / "train/good/003.jpg", root / f"train/good/90{n}.jpg")
        grow(root, f"train/good/{n}.gif")
    _, out, _ = run(capfd, "doctor", root)
    assert "    and 2 more\n" in out
    assert " and 3 more\n" in out


def test_real_root(capfd: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capfd, "info", shared_data("cookies").parent)
    for name in ("cookies", "hazelnut_toy", "magnetic_tile", "road_rgbd"):
        assert re.search(rf"\n  {name} ", out)
