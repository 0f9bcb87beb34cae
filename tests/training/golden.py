"""Loss trajectories that must not change unless a method's version does.

    python -m tests.training.golden --write

writes tests/golden/loss-<method>.json anew. Do that only together with a higher `version` in the
method (or in all methods, where the loop itself changed), and say why in the changelog.

They are computed in float64: float32 trajectories of two processors are up to 2e-4 apart after a
few steps, and a bound that wide would not see a beta that is off by 0.1 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bench.api.method import Method
from bench.data.pairing import RePaired
from bench.training.source import PairSource
from methods.ddspo import DDSPO
from methods.ddspo_efficient import DDSPONotPaired, DDSPOOneImage, DDSPORandPositive
from methods.diffusion_dpo import DiffusionDPO
from methods.diffusion_kto import DiffusionKTO
from methods.guidance_distillation import GuidanceDistillation
from methods.realalign import RealAlignStage1, RealAlignStage2
from methods.sft import SFT
from tests.precision import double_precision
from tests.training.nets import tiny_backbone, tiny_pairs
from tests.training.runs import rows, run

FOLDER = Path(__file__).parents[1] / "golden"
METHODS: tuple[Method, ...] = (
    SFT(),
    DiffusionDPO(kappa=20.0),
    DDSPO(kappa=20.0),
    DDSPONotPaired(kappa=20.0),
    DDSPORandPositive(kappa=20.0),
    DDSPOOneImage(kappa=20.0),
    GuidanceDistillation(scale=3.0),
    DiffusionKTO(kappa=20.0),
    RealAlignStage1(variant="released", policy_sync_every=3, rollout_steps=4, margin=1.0),
    RealAlignStage2(kappa=20.0),
)
# A large epsilon keeps Adam from turning the rounding of tiny gradients into full steps.
SETTINGS: dict[str, Any] = {
    "steps": 8,
    "batch": 8,
    "micro_batch": 8,
    "lr": 1e-3,
    "adam_epsilon": 1e-2,
}
KEYS = ("loss", "error_a", "grad_norm")


def path_of(method: Method) -> Path:
    return FOLDER / f"loss-{method.name}.json"


def lines_of(method: Method, folder: Path, **changes: Any) -> list[dict[str, float]]:
    """Train the toy network and return its metrics; `changes` go into the settings."""
    pairs: PairSource = tiny_pairs()
    if method.needs.pairing != "own":
        pairs = RePaired(pairs=pairs, pairing=method.needs.pairing)
    backbone = tiny_backbone(folder / "backbone")
    return rows(run(backbone, folder / "run", method, pairs=pairs, **{**SETTINGS, **changes}))


def trajectory(method: Method, folder: Path) -> dict[str, Any]:
    """Train the toy network in float64 and return what the golden file holds."""
    with double_precision():
        lines = lines_of(method, folder)
    return {
        "command": "python -m tests.training.golden --write",
        "method": method.name,
        "version": method.version,
        "config": method.config(),
        "dtype": "float64",
        "settings": SETTINGS,
        "values": {key: [row[key] for row in lines] for key in KEYS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", required=True)
    parser.add_argument("--only", nargs="*", help="names of methods; all where none is given")
    only = parser.parse_args().only
    FOLDER.mkdir(exist_ok=True)
    for method in METHODS:
        if only and method.name not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = trajectory(method, Path(folder))
        path_of(method).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        print(path_of(method), found["values"]["loss"])


if __name__ == "__main__":
    main()
