"""Patterns: what is one, and where they lead."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.errors import ConfigError
from blemish.patterns import place, require_pattern

LETTERS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["C"]), min_size=1)
PLAIN = st.text("abcXYZ019_-. é", max_size=8)


@pytest.mark.parametrize(
    ("pattern", "image", "expected"),
    [
        ("{stem}_depth.png", "good/1.png", "good/1_depth.png"),
        ("../xyz/{stem}.tiff", "train/rgb/a.b.png", "train/xyz/a.b.tiff"),
        ("../xyz/{stem}.*", "1.png", "../xyz/1.*"),
        ("./../../xyz/{stem}/*.ply", "a/b/1.png", "xyz/1/*.ply"),
        ("../../x/{stem}.ply", "../1.png", "../../../x/1.ply"),
        ("depth_{stem-color_}.png", "color_7.png", "depth_7.png"),
        ("{stem-_image_4}_depth.png", "/d/000_image_4.png", "/d/000_depth.png"),
        ("{stem}_*", "*{stem}.png", "*{stem}_*"),
        ("{stem-a}{stem}.png", "aab.png", "abaab.png"),
    ],
)
def test_where_patterns_lead(pattern: str, image: str, expected: str) -> None:
    require_pattern(pattern, "it")
    assert str(place(Path(image), pattern)) == expected


def test_a_name_without_the_letters_leads_nowhere() -> None:
    assert place(Path("001.png"), "{stem-_rgb}_depth.png") is None


@given(stem=LETTERS, start=PLAIN, end=PLAIN, folder=st.sampled_from(["", "../xyz/", "a/"]))
def test_any_name_comes_back_as_it_is(stem: str, start: str, end: str, folder: str) -> None:
    pattern = f"{folder}{start}{{stem}}{end}"
    require_pattern(pattern, "it")
    image = Path("set/rgb") / f"{stem}.png"
    if image.stem != stem:  # a name that begins with dots and ends there
        return
    there = place(image, pattern)
    assert there is not None
    assert (there.start, there.end, there.open) == (f"{start}{stem}{end}", "", False)
    expected = {"": "set/rgb", "../xyz/": "set/xyz", "a/": "set/rgb/a"}[folder]
    assert there.folder == Path(expected)
    # what is put before and after a name can be taken out of it again
    if start and (start + stem + end).index(start) == 0 and "/" not in start:
        back = place(Path("x") / f"{start}{stem}.png", f"{{stem-{start}}}.png")
        assert back is None or back.start == f"{stem}.png" or start + stem != image.stem


@pytest.mark.parametrize(
    "wrong",
    [
        "", "xyz/1.tiff", "/data/{stem}.ply", "C:/data/{stem}.ply", "c:{stem}.ply",
        "..\\{stem}.png", "*/{stem}.png", "{stem}*.*", "{stem}/", "{stem}/..", "{stem}/.",
        "{name}.png", "{stem",
        "{stem}}.png", "{stem-}.png", "{stem-a*}.png", "{stem-a/b}.png", "{stem}\n.png",
        "{stem}\0.png", "{stem}" + "x" * 1000, 7, None, ["{stem}"],
    ],
)  # fmt: skip
def test_what_is_no_pattern(wrong: object) -> None:
    said = r"^--points must be a path with / .*\{stem\}.* but is .*\. Write, for example, \.\./xyz/"
    with pytest.raises(ConfigError, match=said) as caught:
        require_pattern(wrong, "--points")
    assert len(str(caught.value)) < 1500
