"""How long work says how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Passes items on, one by one, and may show progress while it does."""

    def __call__(self, items: Iterable[T], doing: str, total: int, /) -> Iterator[T]: ...


def silent(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
    """Shows nothing."""
    yield from items
