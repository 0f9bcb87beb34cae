"""Chooses settings on validation prompts: `python benchmarks/sweep.py GRID.yaml`.

Two stages, each a few calls of `bench run --protocol validation`: the sampling CFG for the base
alone (where the grid has scales; otherwise it stays the profile's), then as many points for each
method. Every point's score goes to
`results/sweeps/<grid name>/points.json`; test prompts are never touched. Running it again
continues: what the store has is not made twice.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def run(
    grid: Mapping[str, Any], rows: Sequence[str], sets: Sequence[str], jobs: int
) -> dict[str, Any]:
    """Run one point and return {row: {value, stderr, n, ...}} of the grid's column.

    With what the columns beside it say (`beside`), and the paired difference from the base
    (`gain`), which is what a point is chosen by.
    """
    columns = [grid["column"], *grid.get("beside", ())]
    words = [
        sys.executable, "-m", "bench", "run", "--table", grid["table"],
        "--profile", grid["profile"], "--protocol", grid["protocol"], "--cols", ",".join(columns),
        "--rows", ",".join(rows), "--jobs", str(jobs), "--output", "outputs/sweeps/last", "--quiet",
    ]  # fmt: skip
    for assignment in sets:
        words += ["--set", assignment]
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    table = json.loads((ROOT / "outputs/sweeps/last/table.json").read_text())
    statistics = table["statistics"]
    values = {(one["row"], one["column"]): one for one in statistics["values"]}
    gains = {
        one["row"]: one["estimate"]
        for one in statistics["differences"]
        if one["column"] == grid["column"] and one["estimate"]
    }
    parts = {cell["row"]: cell["parts"] for cell in table["cells"] if cell["column"] == columns[0]}
    found = {}
    for row in parts:
        one = values[row, columns[0]]
        found[row] = {
            "value": one["estimate"]["value"], "stderr": one["estimate"]["stderr"],
            "images": one["images"],
            "parts": {name: part["value"] for name, part in parts[row].items()},
            "gain": {k: gains[row][k] for k in ("value", "stderr")} if row in gains else None,
            "beside": {name: values[row, name]["estimate"]["value"] for name in columns[1:]},
        }  # fmt: skip
    return found


def assignments(method: str, point: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a point as `--set` assignments."""
    return [
        f"training.methods.{method}.{part}.{key}={value}"
        for part, values in point.items()
        for key, value in values.items()
    ]


def chosen(
    scored: Sequence[Mapping[str, Any]],
    columns: Sequence[str] = ("lr",),
    target: float | None = None,
) -> int:
    """Return the index of the point the grid's rule picks.

    Of the points within half a standard error of the best, the one whose settings `columns`
    multiply to the least (`lr`, or `lr` and `steps`: what moves the weights least), then the first.
    With a target (a control of a known size): the first of the points whose gain is nearest to it.
    """
    gains = [float((one.get("gain") or one)["value"]) for one in scored]
    if target is not None:
        return min(range(len(gains)), key=lambda i: abs(gains[i] - target))
    best = max(range(len(scored)), key=gains.__getitem__)
    error = float((scored[best].get("gain") or scored[best])["stderr"])
    near = [i for i, gain in enumerate(gains) if gain >= gains[best] - 0.5 * error]

    def moved(i: int) -> float:
        train = scored[i]["point"]["train"]
        return math.prod(float(train[name]) for name in columns)

    return min(near, key=lambda i: (moved(i), i))


def points_of(grid: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return a grid's points by method: its own, or those another sweep chose."""
    if "chosen_of" not in grid:
        return dict(grid["points"])
    chosen_there = _stored(grid["chosen_of"]["sweep"])["methods"]
    return {m: [chosen_there[m]["chosen"]] for m in grid["chosen_of"]["methods"]}


def better_than(grid: Mapping[str, Any], methods: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether what a grid sets in common is taken: by the mean gain over its methods.

    Args:
        grid: with `chosen_of`: the sweep that chose its points, and by how much their mean gain
            must be larger here (`least`).
        methods: as scored here.
    """
    there = _stored(grid["chosen_of"]["sweep"])["methods"]
    gains, before = [], []
    for method, found in methods.items():
        gains.append(float(found["points"][0]["gain"]["value"]))
        point = next(p for p in there[method]["points"] if p["point"] == there[method]["chosen"])
        before.append(float(point["gain"]["value"]))
    mean, other = math.fsum(gains) / len(gains), math.fsum(before) / len(before)
    taken = mean - other > float(grid["chosen_of"]["least"])
    return {"mean_gain": mean, "mean_gain_there": other, "taken": taken}


def _stored(sweep: str) -> dict[str, Any]:
    file = ROOT / "results" / "sweeps" / sweep / "points.json"
    if not file.exists():
        raise SystemExit(f"{file} is not there: run benchmarks/sweep.py on that grid first.")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def main() -> None:
    """Run the grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("grid", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cfg-only", action="store_true")
    arguments = parser.parse_args()
    grid = yaml.safe_load(arguments.grid.read_text())
    folder = ROOT / "results" / "sweeps" / arguments.grid.stem
    folder.mkdir(parents=True, exist_ok=True)

    scales = []
    shared = [f"{name}={value}" for name, value in grid.get("set", {}).items()]
    for scale in grid.get("cfg_scale", ()):
        sets = [*shared, f"generation.cfg_scale={scale}"]
        of_base = run(grid, ["base"], sets, arguments.jobs)["base"]
        scales.append({"cfg_scale": scale, **of_base})
        print(f"base at CFG {scale}: {of_base['value']:.4f} ± {of_base['stderr']:.4f}", flush=True)
    result: dict[str, Any] = {"grid": grid, "base": scales, "methods": {}}
    if scales:
        best = max(scales, key=lambda s: s["value"])["cfg_scale"]
        print(f"CFG {best}", flush=True)
        result["cfg_scale"] = best
        shared += [f"generation.cfg_scale={best}", f"pairs.generation.cfg_scale={best}"]
    _write(folder / "points.json", result)
    if arguments.cfg_only:
        return

    points_by_method = points_of(grid)
    methods = list(points_by_method)
    result["methods"] = {m: {"points": []} for m in methods}
    for points in zip(*points_by_method.values(), strict=True):
        sets = [a for m, p in zip(methods, points, strict=True) for a in assignments(m, p)]
        scores = run(grid, ["base", *methods], [*shared, *sets], arguments.jobs)
        for method, point in zip(methods, points, strict=True):
            result["methods"][method]["points"].append({"point": point, **scores[method]})
            gain = scores[method]["gain"]
            told = f"{gain['value']:+.4f} ± {gain['stderr']:.4f}" if gain else "the base"
            print(f"{method} {point}: {scores[method]['value']:.4f} ({told})", flush=True)
        _write(folder / "points.json", result)
    if "chosen_of" in grid:
        result["common"] = better_than(grid, result["methods"])
        print(f"{grid['set']}: {result['common']}")
        _write(folder / "points.json", result)
        return
    for method in methods:
        scored = result["methods"][method]["points"]
        index = chosen(scored, grid.get("least", ["lr"]), grid.get("target"))
        result["methods"][method]["chosen"] = scored[index]["point"]
        print(f"{method}: {result['methods'][method]['chosen']}")
    _write(folder / "points.json", result)


def _write(file: Path, data: Any) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(data, indent=1) + "\n")
    temporary.replace(file)


if __name__ == "__main__":
    main()
