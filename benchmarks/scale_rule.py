"""The sampling scale of bases by the rule: `python benchmarks/scale_rule.py BASE... [--jobs 1]`.

FID and GenEval of each base (a shipped one's name, or the folder of a pipeline) at every scale of
the grid, on validation prompts alone, and the scale that `bench.stats.scale` chooses. Points, their
standard errors and the choice go to --output; what is there of other bases stays. Running it again
continues: what the store has is not made twice. `--from-file` applies the rule to the points of
--output again, and measures nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.api.estimate import Estimate
from bench.harness import choose_scale, measure_scales
from bench.stats.scale import SCALES, ScalePoint

ROOT = Path(__file__).parents[1]
FILE = ROOT / "results" / "scales.json"
PROFILE = "tiny"


def overrides(base: str) -> list[str]:
    """Return the `--set` assignments that put a base into a profile."""
    folder = Path(base)
    made = folder.is_dir()
    return [
        f"checkpoint.kind={'path' if made else 'shipped'}",
        f"checkpoint.location={folder.resolve() if made else base}",
    ]


def points_of(data: Mapping[str, Any]) -> list[ScalePoint]:
    """Return the points of a base as they stand in the file."""
    return [
        ScalePoint(
            scale=float(scale),
            distance=Estimate.from_json(dict(point["FID"])),
            quality=Estimate.from_json(dict(point["GE"])),
        )
        for scale, point in data["points"].items()
    ]


def entry(points: list[ScalePoint]) -> dict[str, Any]:
    """Return what the file says of a base."""
    measured = {
        f"{p.scale:g}": {"FID": p.distance.to_json(), "GE": p.quality.to_json()} for p in points
    }
    return {"points": measured, "rule": choose_scale(points).to_json()}


def told(base: str, data: Mapping[str, Any]) -> str:
    """Return a base's points as lines of text."""
    rule, lines = data["rule"], []
    for scale, point in data["points"].items():
        fid, geneval, over = point["FID"], point["GE"], rule["excess"][scale]
        lines.append(
            f"{base} at CFG {scale:>4}: FID {fid['value']:6.3f} (+{over['value']:.3f} ± "
            f"{over['stderr']:.3f}), GE {geneval['value']:.3f} ± {geneval['stderr']:.3f}"
        )
    within = ", ".join(f"{scale:g}" for scale in rule["within"])
    lines.append(
        f"{base}: least FID at {rule['least_fid']:g}, within one standard error {within}; best "
        f"GenEval at {rule['best_geneval']:g}: {rule['chosen']:g}"
    )
    return "\n".join(lines)


def main() -> None:
    """Print each base's points and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bases", nargs="+", metavar="BASE")
    parser.add_argument("--profile", default=PROFILE)
    parser.add_argument("--store", type=Path, default=ROOT / "outputs")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--output", type=Path, default=FILE)
    parser.add_argument("--from-file", action="store_true")
    arguments = parser.parse_args()
    file: Path = arguments.output
    for base in arguments.bases:
        known = json.loads(file.read_text()) if file.is_file() else {}
        if arguments.from_file:
            points = points_of(known[base])
        else:
            points = []
            for scale in SCALES:
                points += measure_scales(
                    arguments.profile,
                    scales=[scale],
                    overrides=overrides(base),
                    store=arguments.store,
                    jobs=arguments.jobs,
                )
                print(f"{base} at CFG {scale:g}: measured", flush=True)
        known = json.loads(file.read_text()) if file.is_file() else {}
        known[base] = entry(points)
        file.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
        print(told(base, known[base]), flush=True)


if __name__ == "__main__":
    main()
