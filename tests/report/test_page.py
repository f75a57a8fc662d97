"""The HTML report: complete, honest about what it lacks, safe with any name, and offline."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from blemish.errors import DataError
from blemish.metrics import FIGURES, Budget, Evaluation, Scored, evaluate
from blemish.records import Prediction, Sample
from blemish.report.page import Views, write_report
from blemish.report.scene import scene_script
from blemish.report.view import View
from blemish.scans import scan_of

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{",
    "{{ 7 * 7 }}",
    "\u202eevil",
    "疵 ü",
    "\udcff not utf-8",
)


class Page(HTMLParser):
    """What a browser would make of it: tags, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def scored(kind: str, score: float, *, name: str = "1.png", masked: bool = True) -> Scored:
    mask = np.zeros((30, 40), dtype=bool)
    mask[5:9, 10:20] = kind != "good"
    map = (mask + np.random.default_rng(0).random(mask.shape)).astype(np.float32)
    sample = Sample(image=Path(f"test/{kind}") / name, split="test", defect_type=kind)
    return Scored(sample=sample, score=score, map=map, mask=mask if masked else None)


def views(item: Scored) -> View:
    seen = Prediction(
        score=item.score,
        p_value=0.5,
        threshold=2.5,
        verdict="good",
        map=np.zeros((30, 40), np.float32),
        regions=(),
        ms=1.0,
    )
    pixels = np.full((30, 40, 1), 90, np.uint8)
    return View(pixels=pixels, prediction=seen, levels=(3.0, 6.0), mask=item.mask)


def with_scans(item: Scored) -> View:
    """Only defective parts have one."""
    points = np.random.default_rng(0).random((30, 40, 3))
    scan = scan_of(points, points[..., 0] < 0.9) if item.sample.is_defect else None
    return dataclasses.replace(views(item), scan=scan)


def report(
    folder: Path, items: list[Scored], views: Views = views, **changes: str
) -> tuple[Page, Evaluation]:
    evaluation = evaluate(items, threshold=2.5, bootstrap=50)
    path = write_report(
        folder,
        title=changes.get("title", "A part"),
        evaluation=evaluation,
        items=items,
        views=views,
        info={"Method": "padim", "Backbone": changes.get("backbone", "Lite0, Apache-2.0")},
        command="blemish evaluate part.blemish parts -o report",
    )
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8")), evaluation


def mixed() -> list[Scored]:
    return [
        *(scored("good", s, name=f"{s}.png") for s in (0.0, 1.0, 2.0, 3.0)),
        *(scored("crack", s, name=f"{s}.png") for s in (1.5, 4.0)),
        *(scored("dent", s, name=f"{s}.png") for s in (2.25, 5.0, 6.0)),
    ]


def test_every_figure_is_there(tmp_path: Path) -> None:
    page, evaluation = report(tmp_path, mixed())
    rows = [evaluation.figures, *evaluation.by_type.values()]
    for name in FIGURES:
        for row in rows:
            assert f"{row[name]:.3f}" in page.text
    for interval in evaluation.intervals.values():
        assert interval is not None
        assert f"{interval[0]:.3f} \N{EN DASH} {interval[1]:.3f}" in page.text


def test_the_headline_says_what_would_happen(tmp_path: Path) -> None:
    page, _ = report(tmp_path, mixed())
    words = re.sub(r"\s+", " ", page.text)
    assert "3 of 5 defective parts found, 60 %" in words
    assert "2 would pass unnoticed" in words
    assert "1 of 4 good parts rejected by mistake, 25 %" in words
    # Clopper and Pearson's bound for 1 of 4, from a table
    assert "at most 75 %" in words
    assert "threshold of 2.5" in words


def test_the_worst_cases_come_first_with_their_pictures(tmp_path: Path) -> None:
    page, _ = report(tmp_path, mixed())
    names = re.findall(r"(?:good|crack|dent)/[\d.]+\.png", page.text)
    assert names[:5] == [
        f"{n}.png" for n in ("crack/1.5", "dent/2.25", "crack/4.0", "dent/5.0", "dent/6.0")
    ]
    assert names[5:] == [f"good/{n}.png" for n in ("3.0", "2.0", "1.0", "0.0")]
    assert page.text.count("missed") == 2
    assert page.text.count("marked by a person") == 5
    assert page.tags.count("img") == 5 * 3 + 4 * 2
    assert page.tags.count("svg") == 4


def test_pictures_are_made_only_for_those_shown(tmp_path: Path) -> None:
    asked = []

    def counting(item: Scored) -> View:
        asked.append(item)
        return views(item)

    items = [scored(k, float(s), name=f"{s}.png") for k in ("good", "x") for s in range(50)]
    write_report(
        tmp_path,
        title="",
        evaluation=evaluate(items, threshold=2.5, bootstrap=0),
        items=items,
        views=counting,
        info={},
        command="",
    )
    assert len(asked) == 12


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Page:
    items = [scored("good", 0.0), scored("x", 4.0), *mixed()]
    return report(tmp_path_factory.mktemp("harmless"), items)[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(tmp_path: Path, name: str, harmless: Page) -> None:
    file = name.replace("/", "_")
    items = [scored("good", 0.0, name=file), scored(name, 4.0, name=file), *mixed()]
    page, _ = report(tmp_path, items, title=name, backbone=name)
    assert "script" not in page.tags
    assert not any(attribute.startswith("on") for attribute, _ in page.attributes)
    assert page.tags.count("img") == harmless.tags.count("img")
    shown = name.encode("utf-8", "backslashreplace").decode()
    assert page.text.count(shown) >= 4  # title twice, backbone, table
    assert shown[:21] in "".join(re.findall(r"\S.* \(1\)", page.text))  # histogram


def test_nothing_is_asked_of_the_network(tmp_path: Path) -> None:
    report(tmp_path, mixed())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert value.startswith(("data:image/", "#"))
    urls = set(re.findall(r"(?:https?:)?//[a-z][\w./-]+", re.sub(r"base64,[^\"]+", "", text)))
    assert urls <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }  # names, not links
    assert "@import" not in text
    assert policy(page) == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "script" not in page.tags
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def policy(page: Page) -> str:
    return next(value for name, value in page.attributes if value.startswith("default-src"))


def test_parts_with_a_scan_have_a_relief_and_a_scene(tmp_path: Path) -> None:
    page, _ = report(tmp_path, mixed(), with_scans)
    assert page.tags.count("img") == 5 * 4 + 4 * 2
    assert page.text.count("the same in relief") == 5
    assert page.tags.count("details") == page.text.count("Turn it in 3D") == 5
    classes = [value for name, value in page.attributes if name == "class"]
    assert classes.count("scene") == 5
    assert classes.count("pictures four") == 5
    assert classes.count("pictures") == 4


def test_the_script_is_there_once_and_asks_nothing(tmp_path: Path) -> None:
    page, _ = report(tmp_path, mixed(), with_scans)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    script = scene_script()
    assert text.count(script.text) == text.count("three.js authors") == 1
    assert page.tags.count("script") == 1 + 5  # the others are data
    kinds = [value for name, value in page.attributes if name == "type"]
    assert kinds.count("application/json") == 5
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert value.startswith(("data:image/", "#"))
    # A browser runs this script and no other, and lets it load nothing but what the page carries.
    assert policy(page) == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {script.source}"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text_beside_a_script(tmp_path: Path, name: str) -> None:
    items = [scored(name, 4.0, name=name.replace("/", "_")), *mixed()]
    page, _ = report(tmp_path, items, with_scans, title=name)
    assert page.tags.count("script") == 1 + 6
    assert not any(attribute.startswith("on") for attribute, _ in page.attributes)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="CHROMIUM ABSENT: no browser draws the scene")
def test_a_browser_draws_the_scene(tmp_path: Path) -> None:
    report(tmp_path, mixed(), with_scans)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    unfolded = text.replace('<details class="turn">', '<details class="turn" open>', 1)
    # the scene alone, where a picture of the window shows it
    alone = unfolded.replace("<body>", "<body><style>body > *, figure { display: none }</style>")
    alone = alone.replace('<section class="headline">', '<section style="display: none">')
    alone = alone.replace('<article class="case">', '<article style="display: block">', 1)
    (tmp_path / "alone.html").write_text(alone, encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--use-angle=swiftshader"]
    command += ["--enable-unsafe-swiftshader", "--virtual-time-budget=8000", "--timeout=60000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1000,900"]
    command += [f"--screenshot={tmp_path / 'seen.png'}", (tmp_path / "alone.html").as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    seen = cv2.imread(str(tmp_path / "seen.png"))
    assert seen is not None
    canvas = seen[150:-150, 100:-100].astype(int)
    drawn = np.abs(canvas - canvas[-1, 0]).max(axis=2) > 40
    assert 0.1 < drawn.mean() < 0.9  # a surface, and paper around it


def test_without_defects(tmp_path: Path) -> None:
    page, _ = report(tmp_path, [scored("good", 1.0), scored("good", 3.0, name="2.png")])
    assert "1 of 2" in page.text
    assert "no defective parts" in page.text
    assert "Worst misses" not in page.text
    assert page.tags.count("svg") == 1


def test_without_good_parts(tmp_path: Path) -> None:
    page, _ = report(tmp_path, [scored("x", 1.0), scored("x", 3.0, name="2.png")])
    assert "no good parts" in page.text
    assert "Worst false alarms" not in page.text


def test_without_masks(tmp_path: Path) -> None:
    items = [scored("good", 1.0), scored("x", 2.0, masked=False), scored("x", 3.0, masked=False)]
    page, _ = report(tmp_path, items)
    assert "only in the image figures: 2" in re.sub(r"\s+", " ", page.text)
    assert "marked by a person" not in page.text
    assert page.tags.count("svg") == 2  # histogram and ROC, no PRO


@pytest.mark.parametrize("scale", [1e-30, 1e30, -1.0, 0.0])
def test_scores_of_any_range(tmp_path: Path, scale: float) -> None:
    items = [
        scored(kind, scale * s, name=f"{s}.png") for kind in ("good", "x") for s in (1.0, 2.0, 900)
    ]
    page, _ = report(tmp_path, items)
    assert page.tags.count("svg") == 4


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    report(tmp_path / "a", mixed())
    report(tmp_path / "b", mixed())
    first, second = ((tmp_path / n / "report.html").read_bytes() for n in "ab")
    assert first == second


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"report\.html"):
        report(tmp_path / "file", mixed())


def test_sizes_and_how_it_was_measured_are_told(tmp_path: Path) -> None:
    page, evaluation = report(tmp_path, mixed())
    words = re.sub(r"\s+", " ", page.text)
    assert evaluation.sizes is not None
    assert "Every figure is exact" in words
    assert "over the whole curve" in words
    assert "a reconstruction" in words
    assert "the estimate, 40 pixels, rests on too few defects" in words
    for row in evaluation.sizes.bins.values():
        assert row["aupro_01"] is None or f"{row['aupro_01']:.3f}" in words


def test_coarse_and_bounded_figures_are_told_apart(tmp_path: Path) -> None:
    items = mixed()
    budget = Budget(chunk=100, good=100, defect=10)
    evaluation = evaluate(items, threshold=2.5, bootstrap=0, n_thresholds=99, budget=budget)
    write_report(
        tmp_path, title="", evaluation=evaluation, items=items, views=views, info={}, command=""
    )
    words = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "between 99 thresholds" in words
    assert f"within {evaluation.error_bound:.1e} of the exact one" in words
