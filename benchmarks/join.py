"""Joining the parts of a large pair set: `python benchmarks/join.py --pairs 200000`.

Parts of 32 pairs are written as `bench.data` writes them (winner and loser, random bytes), joined,
and some of the rows compared in the memory-mapped result. Prints seconds, bytes, and the highest
memory and number of open files of this process *while it joins*, beside what it had before.
The folder needs twice the size of the set: parts are removed only when the set is published.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.data.parts import join_parts
from bench.data.stored import PAIRS_PER_PART
from bench.store import Order, Work, read_safetensors
from bench.store.writer import DISK


def write_parts(work: Work, pairs: int, shape: tuple[int, ...]) -> list[Path]:
    """Write the parts without waiting for the device: their making is not what is measured."""
    from safetensors.numpy import save_file

    (work.path / "parts").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    paths = []
    for start in range(0, pairs, PAIRS_PER_PART):
        rows = min(PAIRS_PER_PART, pairs - start)
        sides = rng.normal(size=(2, rows, *shape)).astype(np.float16)
        sides[:, :, 0, 0, 0] = np.arange(start, start + rows) % 2048  # exact in float16
        paths.append(work.path / f"parts/latents-{start // PAIRS_PER_PART:06d}.safetensors")
        save_file({"winner": sides[0], "loser": sides[1]}, paths[-1])
    return paths


def main() -> None:
    """Write parts, join them, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--shape", default="4,41,41", help="of one latent, C,h,w, in float16")
    parser.add_argument("--folder", type=Path, default=None, help="where; default: TMPDIR")
    options = parser.parse_args()
    shape = tuple(int(number) for number in options.shape.split(","))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        order = Order(kind="pairs", name="join", identity={})
        work = Work(Path(folder) / "join.partial", order, DISK)
        parts = write_parts(work, options.pairs, shape)
        before, began = _peak_mb(), time.monotonic()
        joined = join_parts(work, "latents.safetensors", parts)
        seconds, after = time.monotonic() - began, _peak_mb()
        arrays = read_safetensors(joined)
        rows = np.random.default_rng(1).integers(0, options.pairs, 64)
        for array in arrays.values():
            assert (array[rows][:, 0, 0, 0] == rows % 2048).all()
        figures = {
            "parts": len(parts),
            "bytes": joined.stat().st_size,
            "seconds": round(seconds, 1),
            "peak_mb_before_and_after_the_join": [before, after],
            "open_files_after": len(list(Path("/proc/self/fd").iterdir())),
        }
        print(json.dumps(figures, indent=1))


def _peak_mb() -> int:
    """Return the highest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
