"""Suites: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from blemish.bench.suite import METHODS, MethodEntry, read_suite
from blemish.errors import ConfigError

GOOD = """
name = "Mine"
seeds = [0, 3]
[[data]]
path = "parts"
categories = ["a", "b"]
[[method]]
method = "padim"
settings = { size = 64 }
[[method]]
method = "fbft"
preset = "paper"
"""
SHIPPED = sorted((Path(__file__).resolve().parents[2] / "benchmarks" / "suites").glob("*.toml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_suite_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLEMISH_DATA", raising=False)
    suite = read_suite(write(tmp_path, GOOD), data=None, maps=[])
    assert (suite.name, suite.seeds) == ("Mine", (0, 3))
    assert suite.data[0].categories == ("a", "b")
    assert [entry.label for entry in suite.methods] == ["padim", "fbft paper"]
    assert suite.methods[0].settings == (("size", 64),)
    assert suite.path(suite.data[0]) == tmp_path / "parts"


def test_where_data_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, GOOD)
    monkeypatch.setenv("BLEMISH_DATA", str(tmp_path / "there"))
    assert read_suite(path, data=None, maps=[]).root == tmp_path / "there"
    assert read_suite(path, data=tmp_path / "here", maps=[]).root == tmp_path / "here"


def test_a_folder_is_a_suite_of_every_method(tmp_path: Path) -> None:
    suite = read_suite(tmp_path, data=None, maps=[])
    assert [entry.method for entry in suite.methods] == list(METHODS)
    assert suite.path(suite.data[0]) == tmp_path


def test_the_methods_are_those_there_are() -> None:
    from blemish.methods import METHODS as KINDS

    assert set(METHODS) == set(KINDS)


def test_maps_are_methods(tmp_path: Path) -> None:
    (tmp_path / "peer").mkdir()
    maps = [str(tmp_path / "peer"), f"other={tmp_path / 'peer'}"]
    suite = read_suite(write(tmp_path, GOOD), data=None, maps=maps)
    assert suite.methods[2:] == (
        MethodEntry(label="peer", maps=tmp_path / "peer"),
        MethodEntry(label="other", maps=tmp_path / "peer"),
    )


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("seeds =", "seed =", "'seed' in suite .* Did you mean 'seeds'"),
        ("[0, 3]", "[0, 0]", "seeds of suite .* must be different"),
        ("[0, 3]", "[-1]", "seeds of suite"),
        ("[0, 3]", "[]", "seeds of suite"),
        ("[0, 3]", "[true]", "seeds of suite"),
        ("[0, 3]", "0", "seeds in suite .* must be a list"),
        ("[[data]]", "[[other]]", "'other' in suite"),
        ('path = "parts"', "", r"\[\[data\]\] of suite .* must have a path"),
        ('["a", "b"]', "[1]", "categories in .* must be names"),
        ('["a", "b"]', '["a"]\nlayout = "mvtek"', "layout in .* must be one of"),
        ('"padim"', '"patim"', "method in .* must be one of"),
        ('preset = "paper"', 'preset = "embedded"\nlabel = "padim"', "no label twice"),
        ("{ size = 64 }", "64", "settings in .* must be a dict"),
        ("[[method]]", "[method]", "must be TOML|must be a list"),
        ("name =", "name", "must be TOML"),
    ],
)
def test_wrong_suites_are_refused(tmp_path: Path, before: str, after: str, says: str) -> None:
    assert before in GOOD
    with pytest.raises(ConfigError, match=says):
        read_suite(write(tmp_path, GOOD.replace(before, after)), data=None, maps=[])


def test_other_mistakes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_suite(tmp_path / "none.toml", data=None, maps=[])
    with pytest.raises(ConfigError, match="no folder"):
        read_suite(write(tmp_path, GOOD), data=None, maps=["a=nowhere"])
    with pytest.raises(ConfigError, match="at least one \\[\\[data\\]\\]"):
        read_suite(write(tmp_path, "name = 'x'"), data=None, maps=[])
    with pytest.raises(ConfigError, match="at least one method"):
        read_suite(write(tmp_path, "[[data]]\npath = 'x'"), data=None, maps=[])
    with pytest.raises(ConfigError, match=r"\[\[data\]\] of suite .* must be a table"):
        read_suite(write(tmp_path, "data = [1]"), data=None, maps=[])


@pytest.mark.parametrize("path", SHIPPED, ids=[path.name for path in SHIPPED])
def test_the_shipped_suites_can_be_read(path: Path) -> None:
    assert read_suite(path, data=None, maps=[]).methods


def test_suites_are_shipped() -> None:
    assert {"mvtec_ad", "visa", "dagm", "mvtec_3d", "eyecandies"} <= {p.stem for p in SHIPPED}
