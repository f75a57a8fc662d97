"""Training by several processes under torchrun: what one process would have learnt."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from blemish.ddp import TOLD, Company, company
from blemish.nets.aggregate import PoolNorm

WORKER = """
import sys
from pathlib import Path

import torch
from torch import nn

from blemish.errors import ConfigError
from blemish.track import silent
from blemish.train import Plan, train

OUT = Path(sys.argv[1])


class KilledError(Exception):
    pass


def net_of(norm):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), norm, nn.Tanh(), nn.Linear(8, 1))


def batch_of(number):
    rows = torch.randn(6, 3, generator=torch.Generator().manual_seed(number))
    return rows, rows.square().sum(1, keepdim=True)


def learn(norm=None, plan=None, checkpoint=None, track=silent):
    net = net_of(norm or nn.LayerNorm(8))
    adam = torch.optim.Adam(net[0].parameters(), lr=0.02)
    sgd = torch.optim.SGD([*net[1].parameters(), *net[3].parameters()], lr=0.05, momentum=0.9)
    def loss_of(batch):
        return (net(batch[0]) - batch[1]).square().mean()
    plan = plan or Plan(steps=6, rate=1.0, cosine=True, check=2, patience=5, parts=4)
    losses = train(
        net, loss_of, batch_of, plan, track=track, checkpoint=checkpoint,
        optimisers=(adam, sgd), loss_unseen=lambda: float(loss_of(batch_of(999))),
    )
    return losses, net.state_dict()


def killed(items, doing, total, /):
    for number, item in enumerate(items):
        if number == 3:
            raise KilledError
        yield item


if __name__ == "__main__":
    import blemish.train as room
    from blemish.ddp import company
    here = company()
    whole = learn()
    room.silent = killed  # of those who do not lead
    checkpoint = OUT / "training.pt"
    try:
        learn(checkpoint=checkpoint, track=killed)
    except KilledError:
        pass
    room.silent = silent
    here.wait()
    there = checkpoint.is_file()
    again = learn(checkpoint=checkpoint)
    here.wait()
    try:
        learn(plan=Plan(steps=1, rate=1.0, parts=3))
        said = ""
    except ConfigError as error:
        said = str(error)
    normed = learn(nn.BatchNorm1d(8))
    result = (whole, again, there and not checkpoint.exists(), said, normed, here.size)
    torch.save(result, OUT / f"{here.rank}.pt")
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What one process found, and then two that torchrun started."""
    folder = tmp_path_factory.mktemp("ddp")
    (folder / "worker.py").write_text(WORKER)
    path = os.pathsep.join(one for one in sys.path if one)
    # No GPU: two processes on one machine's CPU, by gloo.
    own = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    found = []
    for name, start in (
        ("one", []),
        ("two", ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]),
    ):
        (folder / name).mkdir()
        command = [sys.executable, *start, str(folder / "worker.py"), str(folder / name)]
        done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found += [torch.load(file) for file in sorted((folder / name).glob("?.pt"))]
    return found


def close(first: Any, second: Any) -> bool:
    losses = torch.allclose(torch.tensor(first[0]), torch.tensor(second[0]), rtol=1e-4)
    return losses and all(
        torch.allclose(value, second[1][name], rtol=1e-4, atol=1e-6)
        for name, value in first[1].items()
    )


def same(first: Any, second: Any) -> bool:
    return first[0] == second[0] and all(
        torch.equal(value, second[1][name]) for name, value in first[1].items()
    )


def test_two_processes_learn_what_one_does(results: list[Any]) -> None:
    alone, first, second = results
    assert [found[5] for found in results] == [1, 2, 2]
    assert same(first[0], second[0])
    assert close(first[0], alone[0])
    assert alone[0][0][-1] < alone[0][0][0]


def test_two_killed_processes_go_on_to_the_bit(results: list[Any]) -> None:
    for whole, again, clean, *_ in results:
        assert same(whole, again)
        assert clean


def test_parts_that_cannot_be_shared_are_refused(results: list[Any]) -> None:
    alone, first, second = (found[3] for found in results)
    assert alone == ""
    assert first == second
    assert first.startswith("parts must be a multiple of the 2 processes that share a step, but is")


def test_all_processes_end_with_the_same_averages(results: list[Any]) -> None:
    """On CPUs each normalises its own parts, so that one process learns something else."""
    _, first, second = (found[4] for found in results)
    assert same(first, second)


def test_norms_are_joined_on_gpus_and_parted_with_what_they_learnt() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4), PoolNorm(4)))
    own = dict(net.named_modules())
    here = Company(rank=0, size=2, device=torch.device("cuda", 0))
    alone = here.join_norms(net)
    joined = [net[1][0], net[1][1]]
    assert all(isinstance(one, nn.SyncBatchNorm) for one in joined)
    assert [*net.parameters()][2] is own["1.0"].weight
    joined[1].running_mean += 3
    here.part_norms(net, alone)
    assert dict(net.named_modules()) == own
    assert net[1][1].running_mean.tolist() == [3.0] * 4
    assert Company(rank=0, size=2, device=torch.device("cpu")).join_norms(net) == {}


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TOLD:
        monkeypatch.delenv(name, raising=False)
    here = company()
    assert (here.rank, here.size) == (0, 1)
    assert here.mean(torch.tensor(0.1)) == torch.tensor(0.1).item()
