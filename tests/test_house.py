"""House rules: walls between rooms, small files and functions, few hops from disk to map."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import statistics
import subprocess
import sys
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

import blemish
from blemish.data.demo_defects import DEFECTS
from blemish.errors import BlemishError
from blemish.runtime import Inspector

SOURCE = Path(blemish.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
ROOT = SOURCE.parents[1]
REAL_CATEGORIES = ("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "screw",
                   "metal_nut", "pill", "tile", "toothbrush", "transistor", "zipper", "cookie",
                   "candle", "cashew", "macaroni", "pcb", "fryum", "magnetic")  # fmt: skip

HEAVY = ("torch", "torchvision", "timm", "onnx", "safetensors", "platformdirs")
LIGHT_ROOMS = (
    "blemish", "blemish.runtime", "blemish.frame", "blemish.metrics", "blemish.metrics.evaluate",
    "blemish.report", "blemish.report.page", "blemish.report.overlay", "blemish.report.text",
    "blemish.report.relief", "blemish.report.scene", "blemish.report.view",
    "blemish.data", "blemish.data.demo", "blemish.data.doctor", "blemish.clouds", "blemish.cli",
    "blemish.scans", "blemish.geometry", "blemish.background", "blemish.fpfh",
    "blemish.data.demo3d", "blemish.sensors", "blemish.patterns", "blemish.data.partners",
    "blemish.tiles", "blemish.cli_sensors", "blemish.cli_fit", "blemish.cli_inspect",
    "blemish.area", "blemish.regions", "blemish.bands", "blemish.tiffs",
    "blemish.cli_data", "blemish.report.checkup", "blemish.artifact", "blemish.calibrate",
    "blemish.bench.suite", "blemish.bench.run", "blemish.bench.page", "blemish.bench.tables",
    "blemish.synth", "blemish.synth.dataset", "blemish.cli_synth", "blemish.settings",
    "blemish.cli_weights", "blemish.nets.pretrained", "blemish.nets.weights", "blemish.nets.room",
    "blemish.nets.fetch", "blemish.nets.bundle",
    "blemish.pipeline", "blemish.watch", "blemish.arrivals", "blemish.journal", "blemish.cli_watch",
    "blemish.scoring", "blemish.shots", "blemish.descriptors", "blemish.groups", "blemish.images",
    "blemish.records", "blemish.errors", "blemish.track",
    "blemish.cli_export", "blemish.description", "blemish.agreement", "blemish.verify",
    "blemish.engines", "blemish.fastest",
)  # fmt: skip


def modules() -> list[str]:
    names = (path.relative_to(SOURCE.parent).with_suffix("").parts for path in FILES)
    return [".".join(parts).removesuffix(".__init__") for parts in names]


def clean(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


def lines(node: Any) -> int:
    return int(node.end_lineno - node.lineno + 1)


# walls


# One clean process for all rooms, in which ours are forgotten before each: a process each takes
# seconds of imports that are not ours.
FORGET = """
import sys

def forget():
    for name in [one for one in sys.modules if one.partition(".")[0] == "blemish"]:
        del sys.modules[name]
"""


def test_light_rooms_never_import_torch() -> None:
    late = (*HEAVY, "onnxruntime", "openvino")  # a runtime is imported when a graph is opened
    said = clean(
        f"{FORGET}\n"
        f"for room in {LIGHT_ROOMS}:\n"
        "    forget()\n"
        "    __import__(room)\n"
        f"    if heavy := sorted(set(sys.modules) & set({late})):\n"
        "        sys.exit(f'{room} imports {heavy}')\n"
        "    print(room)\n"
    )
    assert said.split() == list(LIGHT_ROOMS)


def test_importing_blemish_is_nothing_but_names() -> None:
    late = ("onnxruntime", "cv2", "typer", "rich", "matplotlib", "PIL")
    said = clean(f"import sys, blemish; print(sorted(set(sys.modules) & set({late})))")
    assert said.strip() == "[]"


def test_no_torch_is_needed_to_inspect(model: Inspector, demo: Path, tmp_path: Path) -> None:
    part = model.save(tmp_path / "part.blemish")
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in HEAVY)
    said = clean(
        f"import sys; {blocked}; import blemish;"
        f"print(blemish.load({str(part)!r}).inspect({str(demo / 'test/good/000.jpg')!r}).verdict)"
    )
    assert said.strip() in ("good", "defect")


def test_fitting_without_torch_names_the_extra(demo: Path) -> None:
    blocked = "import sys; " + "; ".join(f"sys.modules[{name!r}] = None" for name in HEAVY)
    wanted = "fitting needs packages that are not installed. Run: pip install 'blemish[train]'"
    code = f"import blemish\ntry: blemish.fit({str(demo)!r})\n"
    code += "except blemish.BlemishError as error: print(error)"
    assert clean(f"{blocked}; {code}").strip() == wanted
    code = "from blemish.cli import main; sys.argv = ['blemish', 'fit', 'good']; main()"
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}; {code}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (3, f"blemish: {wanted}\n")


def test_every_module_can_be_imported_first() -> None:
    said = clean(
        f"{FORGET}\n"
        f"for name in {modules()!r}:\n"
        "    forget()\n"
        "    try:\n"
        "        __import__(name)\n"
        "    except BaseException as error:\n"
        "        print(name, repr(error), flush=True)\n"
    )
    assert said == ""


def test_metrics_know_no_model() -> None:
    allowed = {"blemish.errors", "blemish.records", "blemish.track"}
    for path, tree in TREES.items():
        if path.parent.name == "metrics":
            ours = {name for name in imported(tree) if name.startswith("blemish.")}
            assert all(name in allowed or name.startswith("blemish.metrics") for name in ours), path


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


# sizes


def test_the_house_is_small() -> None:
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in FILES]
    assert len(FILES) <= 180
    assert sum(lengths) <= 27500
    assert statistics.median(lengths) <= 150


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350
    assert len(path.relative_to(SOURCE).parts) <= 2
    assert path.stem not in ("utils", "util", "helpers", "common", "misc", "tools")
    # A verb's options are its signature, one or several lines each.
    start = "body" if path.stem.startswith("cli") else "whole"
    long = [(f.name, lines(f)) for f in functions(TREES[path]) if _length(f, start) > 60]
    assert long == []


def _length(function: Any, start: str) -> int:
    first = function.body[0].lineno if start == "body" else function.lineno
    return int(function.end_lineno - first + 1)


def test_most_functions_are_very_short() -> None:
    lengths = [lines(f) for tree in TREES.values() for f in functions(tree)]
    assert statistics.median(lengths) <= 12


def test_class_chains_are_short() -> None:
    for name in modules():
        for _, kind in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            ours = [base for base in kind.__mro__ if base.__module__.startswith("blemish")]
            assert len(ours) <= 3, kind  # the class itself and a chain of two


# words


def test_no_category_name_gets_into_a_method() -> None:
    rooms = ("methods", "nets")
    for path in FILES:
        if path.parent.name in rooms or path.name in ("fitting.py", "train.py", "runtime.py"):
            words = set(re.findall(r"[a-z_]+", path.read_text(encoding="utf-8").lower()))
            # a grid of cells, a tile of a large photograph; modalities that a prediction had to do
            # without
            ours = {"grid", "tile"} | ({"missing"} if path.name == "runtime.py" else set())
            assert not words & ({*REAL_CATEGORIES, *DEFECTS} - ours), path


def test_public_functions_take_no_kwargs() -> None:
    for path, tree in TREES.items():
        for function in functions(tree):
            assert function.args.kwarg is None or function.name.startswith("_"), (
                path,
                function.name,
            )


def test_no_assert_and_no_pickle_in_the_source() -> None:
    for path, tree in TREES.items():
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), path
        assert not imported(tree) & {"pickle", "dill", "cloudpickle", "joblib", "marshal"}, path
        calls = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call)
                 and isinstance(n.func, ast.Name)}  # fmt: skip
        assert not calls & {"eval", "exec"}, path


def test_nobody_touches_the_global_generators() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"np\.random\.(seed|rand|randn|randint|shuffle|permutation)\(", text)
        assert "import random" not in text
        if "torch.manual_seed" in text:
            assert "fork_rng" in text, path


def test_every_parameter_and_result_is_typed() -> None:
    for path, tree in TREES.items():
        for function in functions(tree):
            arguments = function.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            untyped = [
                a.arg for a in every if a.annotation is None and a.arg not in ("self", "cls")
            ]
            assert not untyped, (path, function.name, untyped)
            assert function.returns is not None, (path, function.name)


def test_every_file_and_public_name_says_what_it_is() -> None:
    kinds = (ast.FunctionDef, ast.ClassDef)
    for path, tree in TREES.items():
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, kinds) and not node.name.startswith("_"):
                long = lines(node) > 4  # a function of four lines says it itself
                assert not long or ast.get_docstring(node), (path, node.name)


def test_py_typed_is_shipped() -> None:
    assert (SOURCE / "py.typed").is_file()


def test_public_names_are_what_can_be_imported() -> None:
    public = {
        name
        for name, value in vars(blemish).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    # The imports that the door itself needs are not for others.
    own = public - {"annotations", "TYPE_CHECKING", "Path", "Any"}
    assert own | {"__version__"} == set(blemish.__all__)
    assert sorted(blemish.__all__) == list(blemish.__all__)


def test_every_error_is_of_the_family() -> None:
    import blemish.errors as room

    kinds = [
        kind
        for _, kind in inspect.getmembers(room, inspect.isclass)
        if kind.__module__ == room.__name__
    ]
    assert all(issubclass(kind, BlemishError) for kind in kinds)
    assert all(kind.__name__ in str(room.__doc__) for kind in kinds)


# hops


def test_few_hops_from_disk_to_map(model: Inspector, demo: Path) -> None:
    image = demo / "test" / "speck" / "000.jpg"
    model.inspect(image)  # anything imported late is imported now
    seen: set[tuple[str, str, int]] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(SOURCE)):
            seen.add((code.co_filename, code.co_name, code.co_firstlineno))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        found = model.inspect(image)
    finally:
        sys.setprofile(before)
    assert found.map.shape == (300, 360)
    files = {file for file, _, _ in seen}
    assert 3 <= len(files) <= 8, sorted(files)
    assert len(seen) <= 40, sorted(seen)  # several modalities may be there
