"""Fixtures for every room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import commands
from blemish.data.demo import make_demo
from blemish.data.demo3d import make_demo3d
from blemish.runtime import Inspector

DATA = Path(os.environ.get("BLEMISH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

if "PYTEST_XDIST_WORKER" in os.environ:
    # torch reads it when it is imported. Threads of several processes wait for each other: with two
    # of either kind the contract took 232 s of two cores, with two processes of one thread 96 s.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Property tests are judged by what they find, not by how busy the machine is. A gate judges the
# change and not its luck, so there the examples are the same at each run; elsewhere they are new.
settings.register_profile("no deadline", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("no deadline")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where processes share the tests (`make test`) a file is one process's, so that what its
    fixtures fit is fitted once; of tests/contract, which is long, each method is."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            method = test.partition("[")[2].partition("-")[0] if "/contract/" in file else ""
            return f"{file} {method.rstrip(']')}"

    return ByFile(config, log) if config.getvalue("dist") == "loadscope" else None


def shared_data(name: str) -> Path:
    """Folder of one real data set, or a loud skip."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"REAL DATA ABSENT: {folder} does not exist; set BLEMISH_DATA to its parent")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing of the person's cache is read or written."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLEMISH_CACHE", str(folder))
        # Measuring which is the fastest takes a second of each new graph.
        patch.setenv("BLEMISH_RUNTIME", "onnxruntime")
        yield folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny demo set: 12 good parts to fit on, 3 good and 7 defective ones to test."""
    folder = tmp_path_factory.mktemp("demo") / "set"
    return make_demo(folder, train_good=12, test_good=3, per_defect=1)


@pytest.fixture(scope="session")
def demo3d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny set of photographs with points: 12 good parts to fit on, 4 good ones and two of each
    of five defects to test."""
    folder = tmp_path_factory.mktemp("demo3d") / "set"
    make_demo3d(folder, train_good=12, test_good=4, per_defect=2, categories=["loaf"])
    return folder / "loaf"


@pytest.fixture(scope="session")
def model(demo: Path) -> Inspector:
    """Fitted on the demo set, for whoever needs any model: padim at 64 px, calibrated on all 12."""
    from blemish.fitting import fit_folder  # torch takes seconds to import

    return fit_folder(demo, settings={"size": 64})


@pytest.fixture(scope="session")
def part(model: Inspector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of that model."""
    return model.save(tmp_path_factory.mktemp("part") / "part.blemish")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> commands.Run:
    """`blemish` with the words that it is called with."""
    return partial(commands.run, capfd)
