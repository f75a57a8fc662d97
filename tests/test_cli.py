"""Every verb and option, exit code and stream, as a person or a machine meets them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

import blemish
import blemish.data.demo
import commands
from blemish import cli
from blemish.cli_parts import parse_rate
from blemish.images import read_map
from blemish.scoring import jobs
from commands import Run

VERBS = ("fit", "inspect", "evaluate", "info", "bench", "synth", "export", "verify", "demo")
SMALL = ("--size", "64")
LINE = {"file", "verdict", "score", "p_value", "threshold", "regions", "ms", "runtime"}
FIGURES = {"image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max",
           "aupro_30", "aupro_10", "aupro_05", "aupro_01"}  # fmt: skip


def refused(done: commands.Done, *words: str) -> None:
    """One sentence on stderr, nothing on stdout, exit code 3."""
    assert done.code == 3, done
    assert done.out == ""
    assert done.err.startswith("blemish: ")
    for word in words:
        assert word in done.err


@pytest.fixture(scope="module")
def sure(part: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for which every part is defective."""
    from dataclasses import replace

    artifact = blemish.load(part).artifact
    low = replace(artifact.calibration, scores=(0.0,) * 12, peaks=(0.0,) * 12, extent=0.0)
    file = tmp_path_factory.mktemp("sure") / "sure.blemish"
    return replace(artifact, calibration=low).save(file)


@pytest.fixture
def image(demo: Path) -> Path:
    return demo / "test" / "speck" / "000.jpg"


# help


def test_help_lists_every_verb_and_exit_code(run: Run) -> None:
    done = run("--help")
    assert done.code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in done.out
    for code in ("0 done", "1 a defect", "2 the command", "3 it could", "4 done", "130 Ctrl-C"):
        assert code in re.sub(r"\s+", " ", done.out)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_sentence(run: Run, verb: str) -> None:
    done = run(verb, "--help")
    assert done.code == 0
    command = get_command(cli.app).commands[verb]  # type: ignore[attr-defined]
    for parameter in command.params:
        assert parameter.help, parameter.name
        for name in getattr(parameter, "opts", []):
            assert name in done.out
    assert str(command.help) in " ".join(done.out.split())


def test_the_verbs_are_these(run: Run) -> None:
    assert tuple(get_command(cli.app).commands) == (*VERBS, "data", "weights")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("mend",),
        ("fit",),
        ("fit", "a", "b"),
        ("fit", "a", "--size", "large"),
        ("fit", "a", "--seed", "-1"),
        ("fit", "a", "--colour"),
        ("inspect", "part.blemish"),
        ("evaluate", "part.blemish"),
        ("info",),
        ("demo", "--seed", "one"),
    ],
)
def test_a_wrong_command_line_exits_with_2(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.code == 2
    assert "Usage: blemish" in done.out + done.err


# fit


def test_fit_writes_a_model_and_says_so(run: Run, demo: Path, tmp_path: Path) -> None:
    target = tmp_path / "größe 1" / "ein teil.blemish"
    done = run("fit", demo, "-o", target, *SMALL)
    assert done.code == 0
    assert "Learnt from 12 good images." in done.out
    assert "299" in done.out  # how many it would take to promise 1 %
    assert f"Wrote {target}" in done.out
    assert done.err == ""
    assert [file.name for file in target.parent.iterdir()] == ["ein teil.blemish"]
    assert blemish.load(target).inspect(demo / "test/good/000.jpg").map.shape == (300, 360)


def test_fit_writes_part_blemish_unless_told(
    run: Run, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("fit", demo, *SMALL, "-q") == commands.Done(0, "", "")
    assert (tmp_path / "part.blemish").is_file()


def test_fit_json_is_what_info_json_says(run: Run, demo: Path, tmp_path: Path) -> None:
    words = ("--method", "fbft", "--set", "ridge=0.5", "--set", "share=4", "--false-alarms", "5%")
    target = tmp_path / "part.blemish"
    done = run("fit", demo, "-o", target, *SMALL, *words, "--seed", "7", "--json")
    assert done.code == 0
    (said,) = done.lines()
    assert said == run("info", target, "--json").lines()[0]
    assert (said["method"], said["preset"], said["seed"]) == ("fbft", "embedded", 7)
    assert (said["config"]["size"], said["config"]["ridge"]) == (64, 0.5)
    assert said["config"]["share"] == 4
    assert said["calibration"]["false_alarms"] == 0.05
    assert said["file"] == str(target)
    assert said["backbone"]["licence"] == "Apache-2.0"
    assert 0 < said["promised_false_alarm_rate"] < 1


@pytest.mark.parametrize("rate", ["0.2", "20%", "20 %", "2e-1"])
def test_false_alarms_are_shares_or_percentages(rate: str) -> None:
    assert parse_rate(rate) == pytest.approx(0.2)


@pytest.mark.parametrize("rate", ["0", "0%", "100%", "1", "-1%", "nan", "inf", "few", "%", ""])
def test_other_false_alarms_are_refused(run: Run, demo: Path, tmp_path: Path, rate: str) -> None:
    done = run("fit", demo, "-o", tmp_path / "p.blemish", "--false-alarms", rate)
    refused(done, "--false-alarms must be", f"'{rate}'", "1%")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--set", "sise=64"), "Did you mean 'size'?"),
        (("--set", "size"), "name=value"),
        (("--set", "size=big"), "size must be of type int"),
        (("--set", "size=1"), "size must be between 32 and 4096"),
        (("--set", "size=64.5"), "size must be of type int"),
        (("--set", "ridge=NaN"), "ridge must be of type float"),
        (("--set", "ridge=Infinity"), "ridge must be of type float"),
        (("--set", "ridge=-1"), "ridge must be above 0"),
        (("--set", "ridge=true"), "ridge must be of type float"),
        (("--set", "taps=8"), "taps must be of type"),
        (("--set", "taps=[8"), "taps must be of type"),
        (("--set", "taps=[]"), "taps must be at least one"),
        (("--set", "taps=[0,8]"), "taps must be strides above 0"),
        (("--set", "taps=[1,8]"), "must be among its strides"),
        (("--set", "backbone=vgg16"), "backbone must be one of"),
        (("--set", "backbone=resnet18"), "--set weights=path/to/"),
        (("--set", "weights=nowhere.pth"), "'nowhere.pth' is none"),
        (("--size", "16"), "size must be between"),
        (
            ("--method", "best"),
            "method must be one of ['fbft', 'fractalad', 'lsfa', 'padim', 'patchcore', 'stlm']",
        ),
        (("--preset", "tiny"), "preset of padim must be one of"),
        (("--preset", "paper"), "--set weights=path/to/"),
        (("--method", "fbft", "--set", "students=cubic"), "students must be of type"),
        (("--method", "fbft", "--set", "students=mlp"), "two taps of the same grid"),
    ],
)
def test_bad_settings_are_refused(
    run: Run, demo: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    size = () if any("size" in word for word in words) else SMALL
    refused(run("fit", demo, "-o", tmp_path / "p.blemish", *size, *words), told)
    assert list(tmp_path.iterdir()) == []


def test_fit_reports_images_left_out(run: Run, demo: Path, tmp_path: Path) -> None:
    good = tmp_path / "gute Teile"
    shutil.copytree(demo / "train" / "good", good)
    (good / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (good / "empty.jpg").touch()
    shutil.copy(good / "000.jpg", good / "twice.jpg")
    done = run("fit", good, "-o", tmp_path / "p.blemish", *SMALL)
    assert done.code == 0
    assert "Learnt from 12 good images" in done.out
    assert len(done.err.splitlines()) == 3
    for word in ("broken.png", "empty.jpg", "twice.jpg' has the same bytes as"):
        assert word in done.err
    assert all(line.startswith("left out: ") for line in done.err.splitlines())
    assert run("fit", good, "-o", tmp_path / "p.blemish", *SMALL, "-q").err == ""


def test_fit_takes_mixed_sizes_and_kinds(run: Run, demo: Path, tmp_path: Path) -> None:
    good = tmp_path / "good"
    shutil.copytree(demo / "train" / "good", good)
    whole = Image.open(good / "000.jpg")
    whole.resize((111, 57)).save(good / "small.png")
    whole.convert("L").save(good / "grey.png")
    whole.convert("P").save(good / "palette.png")
    whole.convert("RGBA").save(good / "alpha.png")
    whole.convert("CMYK").save(good / "cmyk.jpg")
    deep = np.asarray(whole.convert("L")).astype(np.uint16) * 16
    Image.fromarray(deep).save(good / "deep.png")
    (said,) = run("fit", good, "-o", tmp_path / "p.blemish", *SMALL, "--json").lines()
    assert said["data"]["used"] == 18
    assert (said["data"]["smallest"], said["data"]["largest"]) == ([57, 111], [300, 360])
    assert (said["data"]["channels"], said["data"]["bits"]) == ([1, 3], [8, 16])
    assert said["frame"]["white"] == 4095


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_images_are_refused(run: Run, demo: Path, tmp_path: Path, count: int) -> None:
    good = tmp_path / "good"
    good.mkdir()
    for number in range(count):
        shutil.copy(demo / "train" / "good" / f"00{number}.jpg", good)
    done = run("fit", good, "-o", tmp_path / "p.blemish", *SMALL)
    refused(done, str(good) if count == 0 else f"at least 4 .* but got {count}".split(".*")[0])
    assert not (tmp_path / "p.blemish").exists()


def test_equal_images_are_refused(run: Run, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    for number in range(6):  # other bytes, same pixels
        picture = Image.new("RGB", (80, 80), (90, 120, 30))
        picture.save(good / f"{number}.png", compress_level=number)
    refused(run("fit", good, "-o", tmp_path / "p.blemish", *SMALL, "-q"), "good images")


@pytest.mark.parametrize("what", ["missing", "a file"])
def test_data_must_be_a_folder(run: Run, image: Path, tmp_path: Path, what: str) -> None:
    data = tmp_path / "missing" if what == "missing" else image
    refused(run("fit", data, "-o", tmp_path / "p.blemish"), str(data))


@pytest.mark.parametrize("target", ["{}", ".", "/", "{}/file/part.blemish"])
def test_a_place_that_cannot_be_written_is_refused_before_fitting(
    run: Run, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (tmp_path / "file").touch()

    def fitted(*args: object, **kwargs: object) -> None:
        raise AssertionError("fitted for nothing")

    monkeypatch.setattr("blemish.fitting.fit_folder", fitted)
    refused(run("fit", demo, "-o", target.format(tmp_path)), "must be")


def test_a_failed_fit_keeps_the_old_model(run: Run, demo: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.blemish"
    target.write_bytes(b"the old one")
    singular = ("--set", "directions=0", "--set", "ridge=1e-30")
    refused(run("fit", demo, "-o", target, *SMALL, *singular), "Raise ridge")
    assert target.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [target]


def program(*words: object, cache: Path, **kwargs: Any) -> subprocess.Popen[str]:
    # A shell may start tests with Ctrl-C ignored, and children inherit that.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    code += "from blemish.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "BLEMISH_CACHE": str(cache)},
        **kwargs,
    )


def test_ctrl_c_leaves_the_old_model(demo: Path, tmp_path: Path) -> None:
    target, cache = tmp_path / "out" / "part.blemish", tmp_path / "cache"
    target.parent.mkdir()
    target.write_bytes(b"the old one")
    words = ("fit", demo, "-o", target, "--size", 512)
    with program(*words, cache=cache, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not list(cache.rglob("*.f32")):  # at work, far from done
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "blemish: stopped. Nothing half-written was left.\n"
    assert out == ""
    assert target.read_bytes() == b"the old one"
    assert list(target.parent.iterdir()) == [target]
    assert not list(cache.rglob("*.part"))


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")
def test_progress_shows_on_a_terminal_only(demo: Path, tmp_path: Path, own_cache: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    words = ("fit", demo, "-o", tmp_path / "p.blemish", *SMALL)
    with program(*words, cache=own_cache, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
        out, _ = process.communicate(timeout=120)
    os.close(ours)
    assert process.returncode == 0
    assert b"Looking at good parts" in seen
    assert b"0:00" in seen  # time left
    assert "\x1b" not in out


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_results_in_a_pipe_stay_out_of_the_bars_way(
    part: Path, demo: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    import pty

    ours, theirs = pty.openpty()
    words = ("inspect", part, demo / "test", *flags)
    with program(*words, cache=tmp_path, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
        out, _ = process.communicate(timeout=120)
    os.close(ours)
    assert process.returncode == 0
    assert b"Inspecting" in seen
    assert b".jpg" not in seen
    assert out.count(".jpg") == 10
    assert "\x1b" not in out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE")
def test_a_reader_that_has_seen_enough_is_not_a_defect(part: Path, demo: Path) -> None:
    code = "from blemish.cli import main; main()"
    words = map(str, ("inspect", part, *[demo / "test"] * 20, "--json"))
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert process.wait(60) == -signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == b""


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux says so when the other side is gone
        return b""


# inspect


def test_inspect_prints_a_table(run: Run, part: Path, demo: Path) -> None:
    done = run("inspect", part, demo / "test")
    assert (done.code, done.err) == (0, "")
    *rows, last = done.out.splitlines()
    images = sorted((demo / "test").rglob("*.jpg"))
    assert len(rows) == len(images) == 10
    for row, path in zip(rows, images, strict=True):
        assert re.match(r"(good|defect) +[-+.e\d]+ +p [01]\.\d{4}  ", row)
        assert str(path) in row
    verdicts = [row.split()[0] for row in rows]
    good, defect = verdicts.count("good"), verdicts.count("defect")
    assert last == f"{good} good, {defect} defect, 0 not readable."
    assert run("inspect", part, demo / "test", "-q").out.splitlines() == rows


def test_inspect_json_is_one_object_a_line(run: Run, part: Path, demo: Path) -> None:
    done = run("inspect", part, demo / "test" / "good", demo / "test" / "speck", "--json")
    assert (done.code, done.err) == (0, "")
    assert len(done.lines()) == 4
    model = blemish.load(part)
    for line in done.lines():
        assert set(line) == LINE
        found = model.inspect(line["file"])
        assert (line["score"], line["p_value"]) == (found.score, found.p_value)
        assert (line["verdict"], line["threshold"]) == (found.verdict, found.threshold)
        assert line["ms"] > 0


def test_regions_are_boxes_in_the_image(run: Run, sure: Path, image: Path) -> None:
    (line,) = run("inspect", sure, image, "--json").lines()
    assert line["verdict"] == "defect"
    assert line["regions"]
    for region in line["regions"]:
        assert set(region) == {"box", "area_px", "peak", "length_px"}
        x, y, width, height = region["box"]
        assert 0 <= x < x + width <= 360
        assert 0 <= y < y + height <= 300
        assert 0 < region["area_px"] <= width * height
        assert region["peak"] <= line["score"]
    row = run("inspect", sure, image).out.splitlines()[0]
    assert f"{len(line['regions'])} region" in row


def test_fail_on_defect_exits_with_1(run: Run, part: Path, sure: Path, image: Path) -> None:
    assert run("inspect", sure, image, "--fail-on-defect").code == 1
    assert run("inspect", sure, image).code == 0
    code = run("inspect", part, image, "--fail-on-defect").code
    assert code == (blemish.load(part).inspect(image).verdict == "defect")


def test_a_bad_file_is_reported_and_the_rest_is_done(
    run: Run, sure: Path, demo: Path, tmp_path: Path
) -> None:
    batch = tmp_path / "ein stapel é"
    shutil.copytree(demo / "test" / "good", batch)
    whole = (batch / "001.jpg").read_bytes()
    (batch / "001.jpg").write_bytes(whole[: len(whole) // 2])
    done = run("inspect", sure, batch, "--json", "--fail-on-defect")
    assert done.code == 4  # more urgent than a defect: something was not inspected
    first, bad, last = done.lines()
    assert set(bad) == {"file", "verdict", "error"}
    assert bad["verdict"] == "error"
    assert bad["file"] == str(batch / "001.jpg")
    assert bad["file"] in bad["error"]
    assert {first["verdict"], last["verdict"]} == {"defect"}
    table = run("inspect", sure, batch)
    assert table.code == 4
    assert table.out.splitlines()[1].startswith("error ")
    assert table.out.splitlines()[-1] == "0 good, 2 defect, 1 not readable."


def test_output_lies_in_the_inputs_own_folders(
    run: Run, part: Path, demo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a b" / "ö"
    assert run("inspect", part, demo / "test", "-o", out, "-q").code == 0
    for path in (demo / "test").rglob("*.jpg"):
        place = (out / path.relative_to(demo / "test")).with_suffix("")
        map = read_map(Path(f"{place}.map.tiff"))
        assert map.dtype == np.float32
        assert np.array_equal(map, blemish.load(part).inspect(path).map)
        with Image.open(f"{place}.overlay.png") as overlay:
            assert overlay.height >= 300
            assert overlay.width >= 360
    assert len([path for path in out.rglob("*") if path.is_file()]) == 20


def test_names_that_collide_get_files_of_their_own(
    run: Run, part: Path, demo: Path, tmp_path: Path
) -> None:
    for place, suffix in (("one", "jpg"), ("two", "jpg"), ("one", "png")):
        (tmp_path / place / "x").mkdir(parents=True, exist_ok=True)
        Image.open(demo / "test/good/000.jpg").save(tmp_path / place / "x" / f"a.{suffix}")
    out = tmp_path / "out"
    one, two = tmp_path / "one" / "x", tmp_path / "two" / "x"
    assert run("inspect", part, one, two, one / "a.jpg", "-o", out).code == 0
    maps = sorted(str(path.relative_to(out)) for path in out.rglob("*.map.tiff"))
    assert len(maps) == 4
    assert "x/a.map.tiff" in maps
    assert "a.map.tiff" in maps
    names = [job.output.name for job in jobs([one, one, one], out) if job.output]
    assert names == ["a", "a.png", "a.jpg", "a.png-2", "a.jpg-2", "a.png-3"]


@pytest.mark.parametrize("workers", ["1", "2", "5"])
def test_workers_change_nothing_but_the_time(
    run: Run, part: Path, demo: Path, tmp_path: Path, workers: str
) -> None:
    words = ("inspect", part, demo / "test", "--json", "-o", tmp_path)
    done = run(*words, "--workers", workers)
    assert (done.code, done.err) == (0, "")
    plain = run("inspect", part, demo / "test", "--json").lines()
    assert [line | {"ms": 0} for line in done.lines()] == [line | {"ms": 0} for line in plain]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 20
    assert run(*words, "--workers", "-1").code == 2


@pytest.mark.parametrize("words", [("missing.png",), ("missing",), ("{empty}",)])
def test_nothing_to_inspect_is_refused(
    run: Run, part: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    empty = tmp_path / "leer"
    empty.mkdir()
    given = [word.format(empty=empty) for word in words]
    refused(run("inspect", part, *given), given[0])


def test_pictures_that_cannot_be_written_are_refused(
    run: Run, part: Path, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = run("inspect", part, image, "-o", tmp_path / "file")
    refused(done, "must be writable", "choose another place")


@pytest.mark.parametrize("content", [None, b"", b"no zip", b"PK\x03\x04"])
@pytest.mark.parametrize("verb", ["inspect", "evaluate", "info"])
def test_what_is_no_model_is_refused(
    run: Run, demo: Path, tmp_path: Path, verb: str, content: bytes | None
) -> None:
    file = tmp_path / "kein modell.blemish"
    if content is not None:
        file.write_bytes(content)
    refused(run(verb, file, *([] if verb == "info" else [demo])), str(file), "blemish fit")


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not text exist on Linux")
def test_names_that_are_not_text_are_shown_somehow(
    run: Run, part: Path, demo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"odd \xff")
    folder.mkdir()
    for path in sorted((demo / "train" / "good").iterdir())[:4]:
        shutil.copy(path, folder)
    (folder / os.fsdecode(b"\xfe.png")).write_bytes(b"broken")
    done = run("inspect", part, folder, "--json")
    assert done.code == 4
    assert all(Path(line["file"]).exists() for line in done.lines())
    assert run("inspect", part, folder, "-o", tmp_path / "out").code == 4
    fitted = run("fit", folder, "-o", folder / "p.blemish", *SMALL)
    assert fitted.code == 0
    assert "\\udcfe.png" in fitted.err
    assert run("info", folder / "p.blemish").code == 0


# evaluate


def test_evaluate_json_has_the_promised_keys(run: Run, part: Path, demo: Path) -> None:
    done = run("evaluate", part, demo, "--json")
    assert (done.code, done.err) == (0, "")
    (said,) = done.lines()
    assert set(said) == FIGURES | {
        "by_type", "counts", "threshold", "false_alarm_rate", "detection_rate", "intervals",
        "mode", "error_bound", "n_thresholds", "seg_f1", "pixel_threshold", "sizes", "runtime",
    }  # fmt: skip
    assert all(0 <= said[figure] <= 1 for figure in FIGURES)
    assert set(said["by_type"]) == {p.name for p in (demo / "test").iterdir()} - {"good"}
    for row in said["by_type"].values():
        assert set(row) > FIGURES
        assert row["count"] == 1
    assert said["counts"]["good"] == 3
    assert said["counts"]["defect"] == 7
    assert set(said["intervals"]) == {"image_auroc", "image_ap", "image_f1_max"}
    assert said["threshold"] == blemish.load(part).artifact.calibration.threshold


def test_evaluate_prints_a_table(run: Run, part: Path, demo: Path) -> None:
    done = run("evaluate", part, demo)
    assert done.code == 0
    assert all(figure in done.out.splitlines()[0] for figure in FIGURES)
    assert "of 3 good parts called defective" in done.out
    assert run("evaluate", part, demo, "-q") == commands.Done(0, "", "")


def test_a_runtime_is_taken_by_its_name_and_told(
    run: Run, part: Path, image: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    rows = [
        run("inspect", part, image, "--json", "--threads", "1", *words).lines()[0]
        for words in ((), ("--runtime", "openvino"))
    ]
    assert [row["runtime"].split()[0] for row in rows] == ["onnxruntime", "openvino"]
    assert rows[1]["score"] == pytest.approx(rows[0]["score"], rel=1e-4)
    done = run("evaluate", part, demo, "--runtime", "openvino", "--json", "-o", tmp_path)
    assert done.lines()[0]["runtime"] == rows[1]["runtime"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{rows[1]['runtime']} (asked for)" in page
    assert f"-o {tmp_path} --runtime openvino</pre>" in page
    monkeypatch.setenv("BLEMISH_RUNTIME", "openvino")
    assert run("inspect", part, image, "--json").lines()[0]["runtime"] == rows[1]["runtime"]


def test_a_model_may_be_fitted_on_another_runtime(run: Run, demo: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    part = tmp_path / "part.blemish"
    words = ("fit", demo / "train" / "good", "-o", part, "--size", "64", "--false-alarms", "50%")
    assert run(*words, "--runtime", "openvino").code == 0
    told = run("info", part).out
    assert re.search(r"^fitted with: +openvino 20", told, re.M)
    assert re.search(r"^runtimes here: +onnxruntime [\d.]+, openvino 20", told, re.M)
    assert run("info", part, "--json").lines()[0]["runtime"].startswith("openvino 20")


@pytest.mark.parametrize("verb", ["fit", "inspect", "evaluate"])
def test_a_runtime_that_is_not_here_is_refused(
    run: Run, part: Path, demo: Path, tmp_path: Path, verb: str
) -> None:
    words = (demo, "-o", tmp_path / "x") if verb == "fit" else (part, demo)
    refused(run(verb, *words, "--runtime", "tvm"), "runtime must be auto or one of", "got 'tvm'")
    done = run(verb, *words, "--runtime", "onnxruntime:directml")
    refused(done, "must find its device, but ONNX Runtime has here only: onnxruntime", "pip")


def test_evaluate_writes_a_report(run: Run, part: Path, demo: Path, tmp_path: Path) -> None:
    done = run("evaluate", part, demo, "-o", tmp_path / "be richt", "--json")
    assert done.code == 0
    assert len(done.lines()) == 1  # the path is for people: beside the results
    page = Path(done.err.removeprefix("Report: ").strip())
    assert page.is_file()
    assert page.is_relative_to(tmp_path / "be richt")
    text = page.read_text(encoding="utf-8")
    assert "<html" in text
    assert "speck" in text
    assert not re.search(r"(?:src|href)=[\"']?https?://", text)  # opens without a network
    assert str(page) in run("evaluate", part, demo, "-o", tmp_path / "be richt").out


def test_coarse_thresholds_change_aupro_alone_and_all_reports_say_so(
    run: Run, part: Path, demo: Path, tmp_path: Path
) -> None:
    (dense,) = run("evaluate", part, demo, "--json").lines()
    (coarse,) = run("evaluate", part, demo, "--json", "--thresholds", "99").lines()
    assert (dense["n_thresholds"], coarse["n_thresholds"]) == (None, 99)
    changed = {figure for figure in FIGURES if dense[figure] != coarse[figure]}
    assert changed == {figure for figure in FIGURES if "aupro" in figure}
    assert "AUPRO is dense" in run("evaluate", part, demo).out
    told = run("evaluate", part, demo, "--thresholds", "99", "-o", tmp_path).out
    assert "AUPRO is coarse: between 99 thresholds" in told
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "AUPRO is coarse: between 99 thresholds" in page
    assert f"-o {tmp_path} --thresholds 99</pre>" in page


@pytest.mark.parametrize("verb", ["evaluate", "bench"])
@pytest.mark.parametrize("bad", ["0", "1", "-99"])
def test_thresholds_must_be_two_or_more(
    run: Run, part: Path, demo: Path, verb: str, bad: str
) -> None:
    inputs = [part, demo] if verb == "evaluate" else [demo]
    done = run(verb, *inputs, "--thresholds", bad)
    assert (done.code, done.out) == (2, "")
    assert (
        "Invalid value for '--thresholds': Input should be greater than or equal to 2" in done.err
    )


def test_a_report_tells_the_layout_it_was_given(
    run: Run, part: Path, demo: Path, tmp_path: Path
) -> None:
    assert run("evaluate", part, demo, "--layout", "mvtec", "-o", tmp_path).code == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"-o {tmp_path} --layout mvtec</pre>" in page


def test_a_report_that_cannot_be_written_is_refused(
    run: Run, part: Path, demo: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = run("evaluate", part, demo, "-o", tmp_path / "file", "-q")
    refused(done, str(tmp_path / "file"))


@pytest.fixture
def spoilt(demo: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo, tmp_path / "kaputte Teile"))


def test_a_missing_mask_is_refused_by_name(run: Run, part: Path, spoilt: Path) -> None:
    shutil.copy(spoilt / "test/good/000.jpg", spoilt / "test/speck/007.jpg")
    refused(run("evaluate", part, spoilt), "007.jpg must have a mask", "007_mask.png")


def test_a_mask_of_another_size_is_refused(run: Run, part: Path, spoilt: Path) -> None:
    mask = spoilt / "ground_truth" / "speck" / "000_mask.png"
    Image.open(mask).resize((180, 150)).save(mask)
    refused(run("evaluate", part, spoilt), str(mask), "300", "150")


def test_an_unreadable_test_image_is_left_out_and_said(run: Run, part: Path, spoilt: Path) -> None:
    (spoilt / "test" / "good" / "001.jpg").write_bytes(b"broken")
    done = run("evaluate", part, spoilt, "--json")
    assert done.code == cli.INCOMPLETE
    assert done.lines()[0]["counts"]["good"] == 2
    assert "left out" in done.err
    assert "001.jpg" in done.err


def test_fitted_images_do_not_take_part(run: Run, demo: Path, part: Path, tmp_path: Path) -> None:
    types = tmp_path / "types"
    shutil.copytree(demo / "train" / "good", types / "good")
    shutil.copytree(demo / "test" / "stain", types / "stain")
    for path in (demo / "test" / "good").iterdir():
        shutil.copy(path, types / "good" / f"new-{path.name}")
    done = run("evaluate", part, types, "--json")
    assert done.code == 0
    assert done.lines()[0]["counts"]["good"] == 3
    assert "12 images the model was fitted or calibrated on" in done.err


def test_nothing_left_to_evaluate_is_refused(run: Run, demo: Path, part: Path) -> None:
    refused(run("evaluate", part, demo / "train" / "good"), "none is left of 12")


# bench

SUITE = """
name = "Mine"
[[data]]
path = "{data}"
[[data]]
path = "not-there"
[[method]]
method = "padim"
settings = {{ size = 64 }}
"""


def test_bench_writes_tables_and_a_page(run: Run, demo: Path, tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE.format(data=demo.name), encoding="utf-8")
    out = tmp_path / "out"
    done = run("bench", suite, "--data", demo.parent, "-o", out)
    assert done.code == cli.INCOMPLETE  # one data set is absent
    assert "| padim | " in done.out
    assert "not-there: absent." in done.out
    assert "1 of 2 were not measured" in done.err
    assert (out / "table.md").read_text(encoding="utf-8") in done.out
    assert "<svg" in (out / "report.html").read_text(encoding="utf-8")
    again = run("bench", suite, "--data", demo.parent, "-o", out, "--json", "-q")
    assert [line["status"] for line in again.lines()] == ["done", "absent"]
    assert "AUPRO is dense" in done.out
    coarse = run("bench", suite, "--data", demo.parent, "-o", out, "--thresholds", "99")
    told = ("AUPRO is coarse: between 99 thresholds", f"bench {suite} --thresholds 99`")
    for text in (coarse.out, (out / "report.html").read_text(encoding="utf-8")):
        assert all(words in text for words in told)
        assert "AUPRO is dense" not in text


def test_bench_refuses_what_is_no_suite(run: Run, tmp_path: Path) -> None:
    refused(run("bench", tmp_path / "none.toml"), "must be a suite")


# info and demo


def test_info_says_where_a_model_came_from(run: Run, part: Path) -> None:
    done = run("info", part)
    assert (done.code, done.err) == (0, "")
    for word in ("padim, preset embedded, seed 0", "64 x 64 px", "Apache-2.0", "12 good images",
                 "cross-fitted", "299"):  # fmt: skip
        assert word in done.out


def test_info_json_is_one_object(run: Run, part: Path) -> None:
    (said,) = run("info", part, "--json").lines()
    assert set(said) == {
        "file", "method", "preset", "config", "seed", "backbone", "weights", "commercial", "data",
        "versions", "frame", "runtime",
        "calibration", "threshold", "promised_false_alarm_rate", "promise", "mm_per_pixel",
    }  # fmt: skip
    assert len(said["data"]["sha256"]) == 12


def test_demo_does_everything(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo: Path
) -> None:
    few = partial(blemish.data.demo.make_demo, train_good=6, test_good=1, per_defect=1)
    monkeypatch.setattr(blemish.data.demo, "make_demo", few)
    out = tmp_path / "ein versuch"
    for _ in range(2):  # repeatable
        done = run("demo", "-o", out)
        assert done.code == 0
        pages = re.findall(r"^Report: (.*)$", done.out, re.M)
        assert len(pages) == 1
        assert Path(pages[0]).is_file()
        for step in ("1/3  blemish fit", "2/3  blemish inspect", "3/3  blemish evaluate"):
            assert step in done.err
    assert (out / "part.blemish").is_file()
    assert len(list((out / "inspected").rglob("*.overlay.png"))) == 8
    done = run("demo", "-o", out, "--seed", "1")
    refused(done, "must be a new or empty folder")


@pytest.mark.slow
def test_demo_finds_its_defects(run: Run, tmp_path: Path) -> None:
    assert run("demo", "-o", tmp_path / "demo", "-q").code == 0
    (said,) = run(
        "evaluate", tmp_path / "demo/part.blemish", tmp_path / "demo/data", "--json"
    ).lines()
    assert said["image_auroc"] >= 0.9
    assert said["counts"] == {"good": 40, "defect": 56, "without_mask": 0, "empty_mask": 0}
