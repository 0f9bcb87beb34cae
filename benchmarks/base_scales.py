"""Base models over the guidance scale: `python benchmarks/base_scales.py BASE... [--scales 1,2]`.

GenEval and FID of each base (a shipped one's name, or the folder of a pipeline) on validation
prompts at each scale; the figures go to --output, what is there of other bases stays. Test prompts
are never touched. Running it again continues: what the store has is not made twice.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sweep import ROOT, run

GRID = {"table": "methods", "profile": "tiny", "protocol": "validation"}
COLUMNS = {"GE": "geneval", "FID": "fid"}
IMAGES_PER_PROMPT = {"geneval": 4, "fid": 2}


def settings(base: str, scale: float, evaluator: str) -> list[str]:
    """Return the `--set` assignments of one column of one point."""
    folder = Path(base)
    made = folder.is_dir()
    count = IMAGES_PER_PROMPT[evaluator]
    return [
        f"checkpoint.kind={'path' if made else 'shipped'}",
        f"checkpoint.location={folder.resolve() if made else base}",
        f"generation.cfg_scale={scale}",
        f"protocols.{GRID['protocol']}.{evaluator}.images_per_prompt={count}",
    ]


def point(base: str, scale: float, jobs: int) -> dict[str, Any]:
    """Return {column: {value, stderr, images, parts}} of a base at one scale."""
    return {
        column: run(
            {**GRID, "column": column}, ["base"], settings(base, scale, evaluator), jobs
        )["base"]
        for column, evaluator in COLUMNS.items()
    }  # fmt: skip


def main() -> None:
    """Print a line for each point and write all points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bases", nargs="+", metavar="BASE")
    parser.add_argument("--scales", default="1,2,3,4")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "base-scales.json")
    arguments = parser.parse_args()
    file: Path = arguments.output
    points: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    for base in arguments.bases:
        of_base = points.setdefault(base, {})
        for scale in map(float, arguments.scales.split(",")):
            of_base[f"{scale:g}"] = found = point(base, scale, arguments.jobs)
            told = (
                f"{column} {cell['value']:.3f} ± {cell['stderr']:.3f} (n = {cell['images']})"
                for column, cell in found.items()
            )
            print(f"{base} at CFG {scale:g}: {', '.join(told)}", flush=True)
            file.write_text(json.dumps(points, indent=1) + "\n")


if __name__ == "__main__":
    main()
