"""What the pages say is run, and docs/cli.md is what the program says.

How to write a page (README.md, docs/tour.md): its blocks run from top to bottom in one folder that
holds good/ (12 photographs of good parts), new/ (5 photographs, two defective), photos/good and
photos/new (the same), parts/ (a data set in MVTec layout), x.png and part.blemish, of good/.

- ```python blocks share one namespace; lines of `>>>` are doctests, answers included.
- ```console and ```bash blocks: every line is a command; with a leading `$ `, lines without one
  are its output and are not compared. Only `blemish …` can be run. `# exit 1` at the end of a
  line says which exit code it must have, 0 without.
- ```text, ```json, ```toml and the like are shown, not run.
- `<!-- not run: reason -->` on the line before a block spares it; a reason is needed.
"""

from __future__ import annotations

import doctest
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from blemish import parts, rehearse
from blemish.cli import FAILED, app
from blemish.errors import BlemishError
from blemish.runtime import Inspector

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "docs/tour.md",
    "docs/data.md",
    "docs/synth.md",
    "docs/weights.md",
    "docs/runtimes.md",
    "docs/line.md",
    "docs/regions.md",
)
RUN = ("python", "console", "bash", "sh", "shell")
BLOCK = re.compile(
    r"(?P<spared><!--\s*not run:(?P<reason>.*?)-->[ \t]*\n\s*)?"
    r"^(?P<indent>[ \t]*)```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```[ \t]*$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    line: int
    kind: str
    text: str
    spared: str | None  # the reason, if it is not run


def blocks(page: str) -> list[Block]:
    return [
        Block(
            line=page.count("\n", 0, match.start("text")),
            kind=match["kind"],
            text=re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE),
            spared=match["reason"].strip() if match["spared"] else None,
        )
        for match in BLOCK.finditer(page)
    ]


def commands(text: str) -> Iterator[tuple[list[str], int]]:
    """Words and exit code of each command in a shell block."""
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        code = re.search(r"#\s*exit (\d+)\s*$", line)
        yield shlex.split(line, comments=True), int(code[1]) if code else 0


def run_command(words: list[str], expected: int) -> None:
    assert words[0] == "blemish", f"{words} cannot be run here: mark its block as not run"
    result = CliRunner().invoke(app, words[1:], prog_name="blemish")
    code = FAILED if isinstance(result.exception, BlemishError) else result.exit_code
    assert code == expected, (words, result.output, result.exception)


def run_python(text: str, line: int, names: dict[str, Any], page: str) -> None:
    if not text.lstrip().startswith(">>>"):
        # Blank lines before it, so that a traceback shows the page's own line.
        exec(compile("\n" * line + text, page, "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(text, names, page, page, line)
    test.globs = names
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test, clear_globs=False).failed == 0


@pytest.fixture
def workplace(
    demo: Path, model: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    model.save(tmp_path / "part.blemish")
    shutil.copytree(demo, tmp_path / "parts")
    shutil.copytree(demo / "train" / "good", tmp_path / "good")
    shutil.copytree(demo / "test" / "good", tmp_path / "new")
    for kind in ("crack", "stain"):
        shutil.copy(demo / "test" / kind / "000.jpg", tmp_path / "new" / f"{kind}.jpg")
    Image.open(demo / "test" / "crack" / "000.jpg").save(tmp_path / "x.png")
    for name in ("good", "new"):
        shutil.copytree(tmp_path / name, tmp_path / "photos" / name)
    monkeypatch.chdir(tmp_path)
    # Seconds instead of minutes: folds instead of a model for each part left out, and rehearsals of
    # one defect of a kind. No page shows what depends on it.
    monkeypatch.setattr(parts, "FEW", 5)
    monkeypatch.setattr(rehearse, "COUNT", 1)
    return tmp_path


def run_page(text: str, page: str) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(text):
        if block.spared is not None or block.kind not in RUN:
            continue
        if block.kind == "python":
            run_python(block.text, block.line, names, page)
            continue
        for words, code in commands(block.text):
            run_command(words, code)


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_run(page: str, workplace: Path) -> None:
    run_page((ROOT / page).read_text(encoding="utf-8"), page)


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_have_something_to_run(page: str) -> None:
    found = blocks((ROOT / page).read_text(encoding="utf-8"))
    run = [block for block in found if block.kind in RUN and block.spared is None]
    spared = [block for block in found if block.spared is not None]
    assert {"python"} < {block.kind for block in run}, "a python block and a shell block, at least"
    assert all(block.spared for block in spared), "<!-- not run: --> needs a reason"
    assert len(spared) <= len(run), f"{len(spared)} blocks are spared, {len(run)} run"


def test_the_command_line_page_is_what_the_program_says() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))["page"]()
    kept = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert kept == made, "run: python docs/generate_cli.py"


def test_the_weights_page_is_what_the_table_says() -> None:
    kept = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    made = runpy.run_path(str(ROOT / "docs" / "generate_weights.py"))["page"](kept)
    assert kept == made, "run: python docs/generate_weights.py"


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page}: {target}"


# the convention itself


def test_python_blocks_share_their_names_and_fail_loudly(workplace: Path) -> None:
    run_page("```python\nx = 2\n```\ntext\n```python\n>>> x + 1\n3\n```\n", "page")
    with pytest.raises(ZeroDivisionError):
        run_page("```python\n1 / 0\n```\n", "page")
    with pytest.raises(AssertionError):
        run_page("```python\n>>> 1 + 1\n3\n```\n", "page")


def test_spared_and_shown_blocks_are_not_run(workplace: Path) -> None:
    page = "<!-- not run: it divides -->\n```python\n1 / 0\n```\n```text\n1 / 0\n```\n"
    run_page(page, "page")
    assert [block.spared for block in blocks(page)] == ["it divides", None]


def test_shell_blocks_check_exit_codes(workplace: Path) -> None:
    run_page("```console\n$ blemish --help\nUsage: anything\n```\n", "page")
    run_page("```bash\nblemish info \\\n  nothing.blemish  # exit 3\n```\n", "page")
    with pytest.raises(AssertionError):
        run_page("```bash\nblemish info nothing.blemish\n```\n", "page")
    with pytest.raises(AssertionError, match="cannot be run here"):
        run_page("```bash\nmake demo\n```\n", "page")


def test_blocks_in_lists_are_found() -> None:
    (block,) = blocks("1. First\n   ```python\n   x = 1\n   if x:\n       y = 2\n   ```\n")
    assert block.text == "x = 1\nif x:\n    y = 2\n"
