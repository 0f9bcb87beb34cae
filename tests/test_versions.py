"""A part whose meaning changed has a new `version`, unless somebody says its numbers are equal.

`version` is what tells a built-in part's results from those of an earlier one: whoever edits what
the part means, wherever in the house, has to bump it, or to know that no number can change (another
message, a faster way to the same bits). `golden/versions.json` holds, for each part, its version
and the hash of all definitions it reaches, those of `bench` too. After an edit:

    python -m tests.test_versions                          # versions were bumped, or parts are new
    python -m tests.test_versions --same-numbers PART ...  # no number can change; `evaluator:*`
                                                           # stands for all evaluators
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from bench.api.registry import BACKENDS, EVALUATORS, METHODS
from bench.store.source.identity import WITHOUT_NUMBERS, meaning_of

GOLDEN = Path(__file__).parent / "golden" / "versions.json"
PLUGINS = {"method": METHODS, "evaluator": EVALUATORS, "backend": BACKENDS}
HARNESS = {
    "training": ("bench.steps.training:TRAINING_VERSION", "bench.training.runner:train"),
    "images": (
        "bench.generation.image_set:VERSION",
        "bench.generation.generate:generate_image_set",
    ),
    "scores": ("bench.steps.scores:SCORES_VERSION", "bench.api.memory:predict_within_memory"),
    "pairs:generated": ("bench.data.spec:VERSION", "bench.data.generated:build"),
    "pairs:labelled": ("bench.data.labelled:VERSION", "bench.data.labelled:build"),
    "pairs:picks": ("bench.data.picks:VERSION", "bench.data.picks:build"),
    "pairs:rendered": ("bench.data.rendered:VERSION", "bench.data.rendered:build"),
    "renders": ("bench.tiny.truth:VERSION", "bench.tiny.truth:render_image_set"),
    "toy": ("bench.toy.cells:TOY_VERSION", "bench.toy.steps:ToyTrainingStep"),
}
"""Part -> its version, and the function that makes its numbers."""

# Other parts with versions of their own, and what only moves artifacts about.
APART = (
    *WITHOUT_NUMBERS,
    "bench.spec",
    "bench.steps",
    "bench.executors",
    "bench.check",
    "bench.votes",
    "methods",
    "evaluators",
)
Found = dict[str, dict[str, Any]]


def found() -> Found:
    """Return version and meaning of every part, by name."""
    parts: Found = {}
    for kind, registry in PLUGINS.items():
        for name, entry in registry.entries().items():
            if entry.origin == "built-in":
                cls: Any = registry.load(name)
                version = getattr(cls, "version", None) or cls.spec.version
                meaning = meaning_of((entry.target,), WITHOUT_NUMBERS)
                parts[f"{kind}:{name}"] = {"version": version, "meaning": meaning.sha256[:16]}
    for name, (where, root) in HARNESS.items():
        module, _, constant = where.partition(":")
        version = getattr(importlib.import_module(module), constant)
        meaning = meaning_of((root,), APART)
        parts[name] = {"version": version, "meaning": meaning.sha256[:16]}
    return parts


def differences(golden: Found, now: Found) -> dict[str, str]:
    """Return what is to be done about each part that is not as it was, by name."""
    said = {}
    for name in sorted(golden.keys() | now.keys()):
        old, new = golden.get(name), now.get(name)
        if old == new:
            continue
        if old is None or new is None or old["version"] < new["version"]:
            said[name] = "write the list anew: python -m tests.test_versions"
        elif old["version"] > new["version"]:
            said[name] = f"version {old['version']} became {new['version']}; versions only rise"
        else:
            said[name] = (
                f"a definition it reaches changed, and its version is still {new['version']}: bump "
                "it and say so under Numbers in CHANGELOG.md, or, if no number can change, "
                f"python -m tests.test_versions --same-numbers {name}"
            )
    return said


@pytest.fixture(scope="module")
def now() -> Found:
    return found()


def test_versions_were_bumped_where_meanings_changed(now: Found) -> None:
    said = differences(json.loads(GOLDEN.read_text()), now)
    assert not said, "\n".join(f"{name}: {text}" for name, text in said.items())


def test_an_edit_asks_for_a_bump_and_a_bump_for_the_list(now: Found) -> None:
    name = "method:ddspo"
    edited = {**now, name: {**now[name], "meaning": "0" * 16}}
    assert "bump it" in differences(now, edited)[name]
    bumped = {**edited, name: {**edited[name], "version": now[name]["version"] + 1}}
    assert "write the list anew" in differences(now, bumped)[name]
    assert "only rise" in differences(bumped, now)[name]
    assert differences(now, now) == {}


def test_parts_reach_what_makes_their_numbers() -> None:
    """Files that must be behind a part; a list that lost them would notice no edit there."""
    reached = {
        "methods.ddspo:DDSPO": {"methods/ddspo.py", "bench/training/links.py"},
        "evaluators.geneval.metric:GenEval": {
            "evaluators/geneval/rules.py",
            "bench/stats/bootstrap.py",
        },
        "bench.training.runner:train": {
            "bench/training/objective.py",
            "bench/training/randomness.py",
            "bench/training/ema.py",
        },
        "bench.generation.generate:generate_image_set": {
            "bench/generation/sample.py",
            "bench/backbones/latents.py",
        },
    }
    root = Path(__file__).parents[1]
    for target, expected in reached.items():
        closed = APART if target.startswith("bench.") else WITHOUT_NUMBERS
        files = {Path(f).relative_to(root).as_posix() for f in meaning_of((target,), closed).files}
        assert expected <= files, (target, sorted(expected - files))


def main() -> None:
    """Write the list anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--same-numbers", nargs="+", default=[], metavar="PART")
    same = parser.parse_args().same_numbers
    golden: Found = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
    parts = found()
    refused = {
        name: text
        for name, text in differences(golden, parts).items()
        if "write the list anew" not in text
        and not any(fnmatch.fnmatchcase(name, one) for one in same)
    }
    if refused:
        raise SystemExit("\n".join(f"{name}: {text}" for name, text in refused.items()))
    lines = (f' "{name}": {json.dumps(parts[name])}' for name in sorted(parts))
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
