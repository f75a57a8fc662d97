"""The doctor's checks of photographs that could be read: each gives findings, most give none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blemish.data import alike
from blemish.data.looks import Look
from blemish.records import Sample

_FLAT = 1.0  # of 255 levels: less contrast than any sensor's noise


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that will hurt.

    kind: a few words, always the same for one check. says: what is the matter, in a sentence.
    advice: what to do about it. groups: the files, those that belong together in one group.
    """

    kind: str
    says: str
    advice: str
    groups: tuple[tuple[Path, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A picture that could be read and the samples it is in: two where train and test share it."""

    look: Look
    samples: tuple[Sample, ...]

    @property
    def splits(self) -> frozenset[str]:
        return frozenset(sample.split for sample in self.samples)

    @property
    def is_defect(self) -> bool:
        return self.samples[0].is_defect


def files(cases: Sequence[Case]) -> list[Finding]:
    """Pictures of nothing, with another suffix than their content, or turned by EXIF."""
    looks = [case.look for case in cases]
    return [
        *one_by_one(
            "flat pictures",
            [one.path for one in looks if one.contrast < _FLAT * _white(one) / 255],
            lambda count: f"{count} of a single colour: nothing was photographed.",
            "Remove them: a covered lens or a lost frame teaches nothing.",
        ),
        *one_by_one(
            "wrong suffixes",
            [one.path for one in looks if not one.honest],
            lambda count: f"{count} in another format than the name says.",
            "blemish reads them; other tools may not. Rename them, or save them again.",
        ),
        *one_by_one(
            "turned by EXIF",
            [one.path for one in looks if one.turned],
            lambda count: f"{count} stored on the side, with a note in EXIF to turn them.",
            "blemish turns them; other tools, and whoever drew the masks, may not have. Save them "
            "upright, and check their masks.",
        ),
    ]


def _channels(one: Look) -> str:
    if one.channels not in (1, 3):
        return f"{one.channels} channels"
    return "grey" if one.grey else "colour"


def _white(one: Look) -> float:
    return 255 if one.bits == 8 else one.peak if one.peak > 0 else 1


def one_by_one(
    kind: str,
    paths: Sequence[Path],
    says: Callable[[str], str],
    advice: str,
    what: str = "picture",
) -> list[Finding]:
    """One finding of several files, none of no files. says: gets "2 pictures are"."""
    if not paths:
        return []
    number = counted(len(paths), what) + (" is" if len(paths) == 1 else " are")
    groups = tuple((path,) for path in paths)
    return [Finding(kind=kind, says=says(number), advice=advice, groups=groups)]


def kinds_of_pixels(cases: Sequence[Case]) -> list[Finding]:
    """More than one size, colour beside grey, 16 bits beside 8."""
    looks = [case.look for case in cases]
    return [
        *_mixed(
            "mixed sizes",
            [(one.path, f"{one.size[0]} x {one.size[1]}") for one in looks],
            "One size and one scale make defects comparable. Photograph again, or crop; pictures "
            "are never resized in silence where sizes are measured.",
        ),
        *_mixed(
            "mixed colour and grey",
            [(one.path, _channels(one)) for one in looks],
            "Convert all to grey, or photograph all in colour: a missing colour looks like a "
            "defect.",
        ),
        *_mixed(
            "mixed bits",
            [(one.path, f"{one.bits} bits") for one in looks],
            "Save all with the same depth: their brightness does not compare.",
        ),
    ]


def _mixed(kind: str, values: Sequence[tuple[Path, str]], advice: str) -> list[Finding]:
    counts = Counter(value for _, value in values)
    if len(counts) < 2:
        return []
    ranked = counts.most_common()
    named = ", ".join(f"{value} ({n})" for value, n in ranked[:4])
    more = f" and {len(ranked) - 4} more" if len(ranked) > 4 else ""
    rare = [(path,) for path, value in values if value != ranked[0][0]]
    if len(rare) > len(values) / 2:  # no size is the usual one: one picture of each
        rare = list({value: (path,) for path, value in reversed(values)}.values())
    return [
        Finding(
            kind=kind, says=f"Pictures differ: {named}{more}.", advice=advice, groups=tuple(rare)
        )
    ]


def repeats(cases: Sequence[Case]) -> list[Finding]:
    """Equal and nearly equal pictures: with two labels, between train and test, or elsewhere."""
    by_digest: dict[bytes, list[Case]] = {}
    for case in cases:
        by_digest.setdefault(case.look.digest, []).append(case)
    equal = [group for group in by_digest.values() if len(group) > 1]
    firsts = [group[0] for group in by_digest.values()]
    near: list[list[Case]] = []
    if len(firsts) > 2:
        pairs = alike.near_pairs(alike.thumbnails([case.look for case in firsts]))
        near = [[firsts[i] for i in group] for group in alike.groups(pairs)]
    torn = [group for group in equal if _torn(group)]
    found = _repeat(
        "duplicates with two labels",
        torn,
        "the same picture, called good and called defective",
        "Look at them and keep the one with the right label.",
    )
    equal = [group for group in equal if group not in torn]
    return (
        found
        + _told("duplicates", "the same picture", equal)
        + _told("near duplicates", "nearly the same picture", near)
    )


def _told(kind: str, how: str, groups: Sequence[list[Case]]) -> list[Finding]:
    leaks = [group for group in groups if _leaks(group)]
    return [
        *_repeat(
            f"{kind} between train and test",
            [sorted(group, key=lambda case: sorted(case.splits)) for group in leaks],
            f"{how}, some in train and some in test",
            "Move all pictures of one part to the same side: figures measured like this are better "
            "than what production will show.",
        ),
        *_repeat(
            kind,
            [group for group in groups if group not in leaks],
            how,
            "Keep one of each group, or all of them on one side of any split: many pictures of one "
            "part count as one part.",
        ),
    ]


def _repeat(kind: str, groups: Sequence[list[Case]], what: str, advice: str) -> list[Finding]:
    if not groups:
        return []
    files = sum(map(len, groups))
    return [
        Finding(
            kind=kind,
            says=f"{counted(len(groups), 'group')} of {what}; {files} files in all.",
            advice=advice,
            groups=tuple(tuple(case.look.path for case in group) for group in groups),
        )
    ]


def _leaks(group: Sequence[Case]) -> bool:
    """Whether one is in train alone and one in test alone; where nothing parts the good pictures,
    blemish does so itself."""
    sides = {case.splits for case in group}
    return {frozenset({"train"}), frozenset({"test"})} <= sides


def _torn(group: Sequence[Case]) -> bool:
    return len({case.is_defect for case in group}) > 1


def good_parts(cases: Sequence[Case]) -> list[Finding]:
    """Pictures of good parts that stand apart, and two groups of light among them."""
    looks = [case.look for case in cases if not case.is_defect]
    found = []
    if odd := alike.outliers(looks):
        found.append(
            Finding(
                kind="odd among the good",
                says=f"{counted(len(odd), 'picture')} of good parts, apart from the others by "
                f"{', '.join(sorted(set(odd.values())))}.",
                advice="Look at them: a defect, another part or a bad photograph among the good "
                "ones widens what passes as good. Remove what is not good, keep what is rare.",
                groups=tuple((looks[index].path,) for index in sorted(odd)),
            )
        )
    levels = np.array([one.level for one in looks]) / alike.full_scale(looks)
    if looks and (halves := alike.light_groups(levels)):
        dark, bright = ([looks[index].path for index in half] for half in halves)
        means = [float(levels[half].mean()) for half in halves]
        found.append(
            Finding(
                kind="groups of light",
                says=f"Good parts were photographed in two lights: {len(dark)} pictures of mean "
                f"brightness {means[0]:.0%} and {len(bright)} of {means[1]:.0%}.",
                advice="If both lights occur in production, give enough pictures of each; if not, "
                "leave the wrong ones out or fix exposure and lamp.",
                groups=(tuple(dark), tuple(bright)),
            )
        )
    return found


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
