"""How much a result moves with the instruction set: `python benchmarks/processors.py`.

Trains DDSPO on the tiny world, samples from it and from the base and scores the images, once as
the processor is and once in subprocesses under each other setting it has (or those of
`--settings`), every time from nothing; prints how far losses, images and scores are apart. A few
CPU-minutes a setting with the defaults.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from PIL import Image
from tabulate import tabulate

from bench.store.processor import Setting, cpu_model, settings

VERDICTS = "GE"


def make(setting: Setting, store: Path, options: argparse.Namespace) -> None:
    """Run the small table in `store` under the setting."""
    words = ["run", "--table", "1a", "--rows", "base,ddspo", "--cols", options.cols]
    words += ["--limit", str(options.limit), "--jobs", "1", "--offline", "-q"]
    words += [
        "--set",
        f"training.common.steps={options.steps}",
        "--set",
        "training.common.batch=16",
    ]
    words += ["--set", f"pairs.suite.options.count={options.pairs}", "--store", str(store)]
    command = [sys.executable, "-m", "bench", *words]
    environment = {**setting.environment(), "OMP_NUM_THREADS": str(options.threads)}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def metrics_of(store: Path) -> list[dict[str, float]]:
    """Return the training's metrics, step by step."""
    (file,) = store.glob("train/*/metrics.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def pixels_of(store: Path) -> dict[str, np.ndarray]:
    """Return all sampled images of the two rows by checkpoint and name."""
    found = {}
    for folder in sorted(store.glob("images/*")):
        row = folder.name.rpartition("-")[0]
        for path in sorted(folder.rglob("*.png")):
            found[f"{row}/{path.relative_to(folder)}"] = np.asarray(Image.open(path), dtype=int)
    return found


def records_of(store: Path) -> dict[tuple[Any, ...], float]:
    """Return the per-image values of the table."""
    rows = pyarrow.parquet.read_table(store / "tables" / "1a" / "records.parquet").to_pylist()
    keys = ("row", "column", "prompt_id", "ordinal", "tag")
    return {tuple(r[k] for k in keys): r["value"] for r in rows if r.get("value") is not None}


def cells_of(store: Path) -> dict[tuple[str, str], float]:
    """Return the values of the table's cells."""
    table = json.loads((store / "tables" / "1a" / "table.json").read_text())
    return {
        (c["row"], c["column"]): c["estimate"]["value"] for c in table["cells"] if c.get("estimate")
    }


def apart(one: Mapping[Any, float], other: Mapping[Any, float]) -> float:
    """Return the largest relative difference."""
    assert one.keys() == other.keys()
    return max(abs(one[k] - other[k]) / max(abs(one[k]), 1e-12) for k in one)


def compared(name: str, one: Path, other: Path) -> dict[str, Any]:
    """Return one line of the result: how far two stores are apart."""
    found: dict[str, Any] = {"setting": name}
    first, second = metrics_of(one), metrics_of(other)
    for key in ("loss", "grad_norm"):
        found[f"{key}, first step"] = apart({0: first[0][key]}, {0: second[0][key]})
        sides = [{n: row[key] for n, row in enumerate(rows)} for rows in (first, second)]
        found[f"{key}, all steps"] = apart(*sides)
    here, there = pixels_of(one), pixels_of(other)
    assert here.keys() == there.keys()
    steps = [np.abs(here[k] - there[k]) for k in here]
    found["images"] = len(here)
    found["images not equal"] = sum(int(s.any()) for s in steps)
    found["largest pixel step of 255"] = int(max(s.max() for s in steps))
    values, others = records_of(one), records_of(other)
    verdicts = [k for k in values if k[1] == VERDICTS]
    found["GE verdicts"] = len(verdicts)
    found["GE verdicts that differ"] = sum(values[k] != others[k] for k in verdicts)
    rest = [abs(values[k] - others[k]) for k in values if k[1] != VERDICTS]
    if rest:
        found["largest difference of another score"] = max(rest)
    mine, theirs = cells_of(one), cells_of(other)
    for row, column in mine:
        found[f"{column} of {row}"] = apart({0: mine[row, column]}, {0: theirs[row, column]})
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", help="names, comma-separated; default: all there are")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cols", default="GE,CB", help="of table 1a, GE among them")
    parser.add_argument("--limit", type=int, default=48, help="prompts of a suite")
    parser.add_argument("--steps", type=int, default=20, help="of training")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    asked = None if options.settings is None else options.settings.split(",")
    base, *others = [s for s in settings() if s.missing is None]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        make(base, Path(folder) / base.name, options)
        for setting in others:
            if asked is None or setting.name in asked:
                make(setting, Path(folder) / setting.name, options)
                paths = (Path(folder) / s.name for s in (base, setting))
                lines.append(compared(setting.name, *paths))
    if options.json:
        print(json.dumps(lines, indent=1))
        return
    print(f"{cpu_model()}: {base.name} against")
    print(tabulate([[key, *(line[key] for line in lines)] for key in lines[0]], headers="firstrow"))


if __name__ == "__main__":
    main()
