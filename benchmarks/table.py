"""Writes docs/benchmarks.md from the results files: every figure there was measured, and says on what.

    python -m benchmarks.table [--check]

With `--check` it writes nothing and fails where the page is not what the results say.
"""

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS
from core.ground.files import read_json

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made by `python -m benchmarks.table` from `benchmarks/results/`; no figure here is written by hand. `make bench` measures
this machine anew; `python -m benchmarks.gpu …` does the part that needs a GPU. A ratio compares two ways of doing a
thing, timed in turn in one run; its least and most over the rounds stand beside its median.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    gpu = read_json(RESULTS / "gpu.json")
    if gpu:
        parts.append(gpu_section(gpu))
    parts += [section(file.stem, read_json(file)) for file in sorted(RESULTS.glob("*/*.json"))]
    return "\n".join(parts)


def gpu_section(found: Mapping[str, Any]) -> str:
    """What was measured on a GPU, with the questions that a reader has."""
    device = found["device"]
    versions = device["versions"]
    lines = [
        f"## {', '.join(device['gpus'])}: InternLM2 {found['shape']} architecture, random weights",
        "",
        f"`python -m benchmarks.gpu`; Python {device['python']}, torch {versions['torch']}, XTuner {versions['xtuner']}, "
        f"transformers {versions['transformers']}, {device['cores']} cores, {device['memory_gb']} GB of memory.",
        "",
    ]
    if "time_to_identity_ratio" in found:
        least = " (a lower bound: the course's config did not get there in the time it was given)"
        bound = least if found["identity"].get("ratios_are_lower_bounds") else ""
        lines += [f"**Time to exact answers, course over fast: {found['time_to_identity_ratio']:.1f}**{bound}", ""]
    for phase, figures in found.items():
        if isinstance(figures, Mapping) and phase not in ("device",):
            lines += [f"### {phase}", "", *table(figures), ""]
    return "\n".join(lines)


def section(name: str, found: Mapping[str, Any]) -> str:
    """One benchmark's figures on one machine."""
    device = found["machine"]
    source = HERE / f"{name.removesuffix('-gpu')}.py"
    about = (ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "") if source.exists() else ""
    first = about.split("\n\n")[0].replace("\n", " ")
    where = f"{device['processor']}, {device['cores']} cores, Python {device['python']}, commit {found['commit']}"
    return "\n".join([f"## {name} ({device['name']})", "", first, "", f"{where}.", "", *table(found["figures"]), ""])


def table(figures: Mapping[str, Any]) -> list[str]:
    """Figures as tables: groups of figures side by side, a column each, and below them what stands alone."""
    groups = {name: dict(flat(value)) for name, value in figures.items() if isinstance(value, Mapping) and value}
    alone = {name: value for name, value in figures.items() if name not in groups}
    lines = []
    if len(groups) > 1:
        names = list(dict.fromkeys(name for group in groups.values() for name in group))
        lines += ["| | " + " | ".join(map(words, groups)) + " |", "| --- |" + " --- |" * len(groups)]
        for name in names:
            values = (short(group[name]) if name in group else "" for group in groups.values())
            lines.append(f"| {words(name)} | " + " | ".join(values) + " |")
        lines.append("")
    else:
        alone = {
            **alone,
            **{f"{group}.{name}": value for group, found in groups.items() for name, value in found.items()},
        }
    rows = list(flat(alone))
    if rows:
        lines += [
            "| figure | value |",
            "| --- | --- |",
            *(f"| {words(name)} | {short(value)} |" for name, value in rows),
        ]
    return lines


def flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure with its dotted name; a list of long texts or records is left to the results file."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        elif not (isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value)):
            yield before + name, value


def words(name: str) -> str:
    return name.replace("_", " ")


def short(value: Any) -> str:
    """A figure with at most four digits; a text without what would end the cell."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(short(item) for item in value)
    return str(value).replace("|", "\\|").replace("\n", " ")[:300]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        there = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        return (
            0
            if there == page()
            else print("docs/benchmarks.md is old: python -m benchmarks.table", file=sys.stderr) or 1
        )
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
