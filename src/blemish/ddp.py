"""One training in several processes, as torchrun starts them: who this process is, and how all
come to agree. Without torchrun there is one process, and nothing here does anything.

Each learns from its own part of a step's pictures; their gradients are averaged, so that all have
the same weights throughout.
"""

from __future__ import annotations

import atexit
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

TOLD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by torchrun


@dataclass(frozen=True, kw_only=True)
class Company:
    """rank: number of this process, 0 leads. size: how many there are."""

    rank: int
    size: int
    device: torch.device

    def mean(self, value: Tensor) -> float:
        """Mean over all processes of one number each, the same for all."""
        if self.size > 1:
            dist.all_reduce(value)
        return value.item() / self.size

    def led(self, value: float) -> float:
        """What the leader says."""
        if self.size == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(told, 0)
        return told.item()

    def follow(self, net: nn.Module) -> None:
        """All take the leader's parameters and buffers."""
        for value in net.state_dict().values() if self.size > 1 else ():
            dist.broadcast(value, 0)

    def wait(self) -> None:
        """Until all are here."""
        self.led(0.0)

    def join_norms(self, net: nn.Module) -> dict[str, nn.Module]:
        """On GPUs batch norms shall see the pictures of all processes; on CPUs torch has no such
        norm, and each process normalises its own. Returns what part_norms needs."""
        if self.size == 1 or self.device.type == "cpu":
            return {}
        alone: dict[str, nn.Module] = {
            name: one for name, one in net.named_modules() if isinstance(one, _BatchNorm)
        }
        # in place, with the same tensors
        nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
        return alone

    def part_norms(self, net: nn.Module, alone: dict[str, nn.Module]) -> None:
        """Puts batch norms back, with what they have learnt."""
        for name, norm in alone.items():
            above, _, last = name.rpartition(".")
            setattr(net.get_submodule(above), last, norm)

    def share(self, loss: nn.Module) -> nn.Module:
        """A loss whose gradients, when it is called, are averaged over all processes."""
        if self.size == 1:
            return loss
        cuda = self.device.type == "cuda"
        return DistributedDataParallel(loss, device_ids=[self.device] if cuda else None)

    def alone(self, loss: nn.Module) -> AbstractContextManager[None]:
        """While it lasts, gradients of a shared loss stay in this process and add up."""
        return loss.no_sync() if isinstance(loss, DistributedDataParallel) else nullcontext()


def company() -> Company:
    """This process among those torchrun started; they meet when it is first asked for."""
    cuda = torch.cuda.is_available()
    if not all(name in os.environ for name in TOLD) or os.environ["WORLD_SIZE"] == "1":
        return Company(rank=0, size=1, device=torch.device("cuda" if cuda else "cpu"))
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if not dist.is_initialized():
        if cuda:
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if cuda else "gloo")
        atexit.register(dist.destroy_process_group)
    return Company(rank=dist.get_rank(), size=dist.get_world_size(), device=device)
