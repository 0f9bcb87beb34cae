"""Images per second of the evaluators, against the published calls image by image.

    python benchmarks/evaluator_speed.py                          (some minutes)
    python benchmarks/evaluator_speed.py --only hpsv2,blip-vqa --images 16 --repeats 5
    python benchmarks/evaluator_speed.py --only tiny

One thread, the same pictures, the same weights: random ones of the published widths, cut to a few
layers where the column says so. Networks and tokenizers are in memory on both sides before the
clock starts, pictures are read from disk. "published" is the authors' package, or where that cannot
be installed here the library calls it consists of, one image (or question) at a time; ours is the
back-end as the harness calls it, `--batch` images a forward. The largest difference of the two
sides' numbers stands beside the speed, as a share of the largest number.

Seconds are those of the processor (`time.process_time`), so that another process on the machine
does not count against either side; what shares a core's caches still slows both. The two sides take
turns, and the lowest and the highest rate of `--repeats` are shown. The packages pytorch-fid,
torch-fidelity and hpsv2 are taken where they are (`pip install --no-deps`; `bench assets build
--env hpsv2-package`).

`tiny` is a table of its own: the tiny world's back-ends, together and one image a forward.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import bench  # noqa: F401  (before torch: threads, torchvision)

import torch  # isort: skip
from speed_case import Case, Sides
from tabulate import tabulate
from transformers.utils.logging import disable_progress_bar

from bench.api import ImageSet
from bench.api.errors import PrerequisiteError, unknown
from bench.api.registry import BACKENDS, EVALUATORS
from bench.check.image_sets import protocol_of, read_set, set_names
from bench.spec.profile import load_profile

COMMITTED = Path(__file__).parents[1] / "results" / "regression"
TINY = "tiny"
HEADS = ("evaluator", "network, random weights", "published call", "published images/s",
         "ours images/s", "ratio", "largest difference")  # fmt: skip


def all_cases() -> dict[str, Case]:
    """Return the cases by name."""
    import speed_clip
    import speed_others
    import speed_questions

    files = (speed_others, speed_clip, speed_questions)
    return {case.name: case for file in files for case in file.cases()}


def rate_of(work: Callable[[], Any], images: int) -> tuple[float, Any]:
    """Return images per second of processor time, and the result."""
    start = time.process_time()
    result = work()
    return images / (time.process_time() - start), result


def compared(sides: Sides, images: int, repeats: int) -> dict[str, Any]:
    """Return the rates of both sides, taken in turns after one image each, and the difference."""
    sides.published(1)
    sides.ours(1)
    rates: dict[str, list[float]] = {"published": [], "ours": []}
    found: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name in rates:
            side = getattr(sides, name)
            rate, found[name] = rate_of(lambda side=side: side(images), images)
            rates[name].append(rate)
    difference = None
    if sides.alike:
        pairs = zip(found["published"], found["ours"], strict=True)
        largest = max(abs(value) for value in found["published"])
        difference = max(abs(a - b) for a, b in pairs) / largest
    return {**rates, "difference": difference, "note": sides.note}


def row_of(case: Case, options: argparse.Namespace) -> list[str]:
    """Measure a case and return its row."""
    images = max(1, options.images // case.divisor)
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        sides = case.make(Path(folder), images, options.batch)
        with sides.memory():
            found = compared(sides, images, options.repeats)
    ratio = median(found["ours"]) / median(found["published"])
    difference = "" if found["difference"] is None else f"{found['difference']:.1e}"
    told = ", ".join(part for part in (difference, found["note"]) if part)
    rates = (f"{min(found[name]):.3g}–{max(found[name]):.3g}" for name in ("published", "ours"))
    return [case.name, case.network, case.published, *rates, f"{ratio:.2f}", told]


def asked(backend: str) -> tuple[ImageSet, Mapping[str, Sequence[str]]] | None:
    """Return committed images that a tiny back-end looks at, and what it is asked of them."""
    profile = load_profile(TINY)
    roles = [role for role, name in profile.backends.items() if name == backend]
    for name in EVALUATORS.names():
        evaluator = EVALUATORS.load(name)()
        for role in (role for role in evaluator.spec.backends if role in roles):
            protocol = protocol_of(profile, name, evaluator)
            assert protocol is not None
            try:
                images = read_set(COMMITTED, set_names(protocol, evaluator)[0])
            except PrerequisiteError:
                continue  # nothing is committed for this evaluator
            wanted = tuple(p for p in images.suite if evaluator.wants(role, p))
            ids = {p.id for p in wanted}
            part = replace(
                images,
                suite=replace(images.suite, prompts=wanted),
                records=tuple(r for r in images.records if r.prompt_id in ids),
            )
            return part, {p.id: q for p in wanted if (q := list(evaluator.queries(role, p)))}
    return None


def tiny_rows(repeats: int) -> Iterator[list[object]]:
    """Yield name, images, and the best rates at 64 and at one a forward, of the tiny back-ends."""
    names = sorted(set(load_profile(TINY).backends.values()))
    for name in names:
        found = asked(name)
        if found is None:
            continue
        images, queries = found
        cls = BACKENDS.load(name)

        def look(size: int, cls: Any = cls, images: Any = images, queries: Any = queries) -> Any:
            return list(cls().predict(images, queries, batch_size=size))

        count = len(images.records)
        try:
            best = [
                max(rate_of(lambda n=size, look=look: look(n), count)[0] for _ in range(repeats))
                for size in (64, 1)
            ]
        except PrerequisiteError:
            continue  # its weights are not shipped
        yield [name, count, *(f"{rate:.0f}" for rate in best)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="A,B", help="cases by name, or tiny; default: all")
    parser.add_argument("--images", type=int, default=8, help="of a case; slow ones take a quarter")
    parser.add_argument("--batch", type=int, default=8, help="images a forward, on our side")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bar()
    known = all_cases()
    names = options.only.split(",") if options.only else [*known, TINY]
    for name in names:
        if name not in (*known, TINY):
            raise SystemExit(str(unknown("case", name, [*known, TINY])))
    print(
        f"{options.images} images, {options.repeats} runs, one thread, torch {torch.__version__}\n"
    )
    rows = []
    for name in (n for n in names if n in known):
        try:
            rows.append(row_of(known[name], options))
        except (ImportError, PrerequisiteError) as error:
            rows.append([name, known[name].network, known[name].published, "", "", "", str(error)])
        print("| " + " | ".join(rows[-1]) + " |", flush=True)
    if rows:
        print("\n" + tabulate(rows, headers=HEADS, tablefmt="pipe", disable_numparse=True))
    if TINY in names:
        heads = ("tiny back-end", "images", "images/s, 64 a forward", "one a forward")
        print("\n" + tabulate(tiny_rows(options.repeats), headers=heads, tablefmt="pipe"))


if __name__ == "__main__":
    main()
