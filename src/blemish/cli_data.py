"""blemish data: look at a data set before learning from it."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from blemish.cli_parts import FOUND, Json, Layout, Quiet, bars, note

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at a data set before learning from it.",
)

Folder = Annotated[Path, typer.Argument(help="Folder of a data set.", show_default=False)]
_SHOWN = 5  # groups of files a finding names; --json and the page have more


@app.command()
def info(
    data: Folder, layout: Layout = "auto", as_json: Json = False, quiet: Quiet = False
) -> None:
    """Say what was recognised, and count it: splits, types, masks, sizes, pixels."""
    from blemish.data.info import describe

    found = describe(data, layout, track=bars(quiet))
    print(json.dumps(found) if as_json else "\n".join(told(found)))


@app.command(
    epilog="Exit codes: 0 nothing found; 1 there are findings; 3 the folder could not be examined."
)
def doctor(
    data: Folder,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for a page of thumbnails.")
    ] = None,
    layout: Layout = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find what will hurt: repeated or odd pictures, mixed kinds, bad masks."""
    from blemish.data.doctor import examine
    from blemish.report.checkup import write_checkup

    checkup = examine(data, layout, track=bars(quiet))
    for remark in checkup.data.notes if checkup.data else ():
        note(quiet)(remark)
    if as_json:
        findings = [_plain(asdict(finding)) for finding in checkup.findings]
        print(json.dumps({"root": str(data), "images": checkup.images, "findings": findings}))
    elif checkup.findings or not quiet:
        for finding in checkup.findings:
            print("\n".join(rows(finding, data)))
        found = len(checkup.findings)
        print(f"{checkup.images} pictures, {found} finding{'s' * (found != 1)}.")
    if output is not None:
        words = ["blemish", "data", "doctor", str(data), "-o", str(output)]
        words += ["--layout", layout] * (layout != "auto")
        page = write_checkup(output, checkup, command=shlex.join(words))
        print(f"Page: {page}", file=sys.stderr if as_json else sys.stdout)
    if checkup.findings:
        raise typer.Exit(FOUND)


def rows(finding: Any, root: Path) -> list[str]:
    """A finding for people: what, the first files, what to do."""
    lines = [f"{finding.kind}: {finding.says}"]
    for group in finding.groups[:_SHOWN]:
        names = [str(path.relative_to(root)) for path in group[:_SHOWN]]
        more = f" and {len(group) - _SHOWN} more" if len(group) > _SHOWN else ""
        lines.append(f"    {' = '.join(names) if len(names) > 1 else names[0]}{more}")
    if len(finding.groups) > _SHOWN:
        lines.append(f"    and {len(finding.groups) - _SHOWN} more")
    return [*lines, f"  {finding.advice}", ""]


def told(found: dict[str, Any]) -> list[str]:
    """What describe found, for people."""
    if "categories" in found:
        lines = [f"{found['root']} holds {len(found['categories'])} data sets:"]
        for one in found["categories"]:
            what = one.get("error") or f"{one['layout']}, train {_sum(one, 'train')}, " + (
                f"test {_sum(one, 'test')}"
            )
            lines.append(f"  {one['name']:<20} {what}")
        return lines
    sizes = [f"{one['size'][0]} x {one['size'][1]} ({one['count']})" for one in found["sizes"]]
    more = f" and {len(sizes) - 6} more" if len(sizes) > 6 else ""
    kinds = [f"{p['channels']} x {p['bits']} bits ({p['count']})" for p in found["pixels"]]
    lines = [f"{'layout:':<12}{found['layout']}", f"{'images:':<12}{found['images']}"]
    lines += [f"{name + ':':<12}{_types(found[name])}" for name in ("train", "test", "masks")]
    if found["third"]:
        lines.append(f"{'3D:':<12}{_types(found['third'])}")
    lines += [f"{'sizes:':<12}{', '.join(sizes[:6])}{more}", f"{'pixels:':<12}{', '.join(kinds)}"]
    lines += [f"{'unreadable:':<12}{error}" for error in found["unreadable"]]
    return lines + [f"{'note:':<12}{remark}" for remark in found["notes"]]


def _types(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _sum(one: dict[str, Any], split: str) -> int:
    return sum(one[split].values())


def _plain(finding: dict[str, Any]) -> dict[str, Any]:
    return {**finding, "groups": [[str(path) for path in group] for group in finding["groups"]]}
