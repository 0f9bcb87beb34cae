"""Claims over several bases: `python benchmarks/over_bases.py BASE...`.

All rows of a table start from one base, which is one draw of what a base may be: a rebuild of
`tiny-sd` with the same recipe once scored .417 where the shipped one has .514. Here rows are
trained and measured on each of several bases (a shipped name, or a folder that
`bench assets build tiny-sd-noisy --seed N --out FOLDER` made), at the scale that the profile says,
and each difference is taken as one number per base, by t over bases. Differences of each base and
what they come to are in results/over-bases.json; running it again continues.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import harness
from bench.stats.student import quantile

ROOT = Path(__file__).parents[1]
FILE = ROOT / "results" / "over-bases.json"
TABLE, COLUMN = "1a", "GE"
PAIRS = (("diffusion-dpo", "base"), ("ddspo", "base"), ("ddspo", "diffusion-dpo"))


def over_bases(values: Sequence[float], errors: Sequence[float]) -> dict[str, float | int]:
    """Return the mean of one difference over bases, with its 95 % interval by t over bases.

    Args:
        values: the difference on each base.
        errors: its standard error there, of training seeds, prompts and noise.

    `between` is the standard deviation that is left between bases once that error is taken off, 0
    where the error alone explains what is seen.
    """
    count = len(values)
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    half = quantile(0.975, count - 1) * spread / math.sqrt(count)
    between = math.sqrt(max(0.0, spread**2 - statistics.fmean(e * e for e in errors)))
    return {
        "bases": count, "value": mean, "low": mean - half, "high": mean + half,
        "spread": spread, "between": between,
    }  # fmt: skip


def measure(base: str, profile: str, *, seeds: int, store: Path, jobs: int) -> dict[str, Any]:
    """Return the base's value and each difference on it, with their standard errors."""
    kind = "shipped" if "/" not in base else "path"
    overrides = [f"checkpoint.location={base}", f"checkpoint.kind={kind}"]
    result = harness.run(
        TABLE,
        profile,
        store=store,
        folder=store / "over-bases" / Path(base).name,
        jobs=jobs,
        rows=sorted({row for pair in PAIRS for row in pair}),
        columns=[COLUMN],
        seeds=list(range(seeds)),
        overrides=overrides,
    )
    for label, failure in result.failures.items():
        raise SystemExit(f"{label}: {failure.message}")
    value = result.value("base", COLUMN).estimate
    assert value is not None
    found: dict[str, Any] = {"base": {"value": value.value, "stderr": value.stderr}}
    for claim, verdict in zip(result.stored.data.claims, result.verdicts, strict=True):
        if claim["column"] == COLUMN and verdict.effect is not None:
            name = f"{claim['better']} - {claim['worse']}"
            found[name] = {"value": verdict.effect.value, "stderr": verdict.effect.stderr}
    return found


def main() -> None:
    """Print and write each base's differences, and what they come to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bases", nargs="+", metavar="BASE")
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--store", type=Path, default=ROOT / "outputs")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if len(set(arguments.bases)) < 2:
        parser.error("one base has no spread; name two or more")
    found = {}
    for base in arguments.bases:
        name = Path(base).name
        found[name] = measure(
            base, arguments.profile, seeds=arguments.seeds, store=arguments.store,
            jobs=arguments.jobs,
        )  # fmt: skip
        print(f"{name}: {found[name]}", flush=True)
    whole = {
        f"{better} - {worse}": over_bases(
            [one[f"{better} - {worse}"]["value"] for one in found.values()],
            [one[f"{better} - {worse}"]["stderr"] for one in found.values()],
        )
        for better, worse in PAIRS
    }
    FILE.write_text(json.dumps({"bases": found, "over bases": whole}, indent=1) + "\n")
    for name, one in whole.items():
        print(
            f"{name}: {one['value']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}] over "
            f"{one['bases']} bases; between bases {one['between']:.4f}"
        )


if __name__ == "__main__":
    main()
