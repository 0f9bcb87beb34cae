"""Image files and the journal of an interrupted set."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api import StoreError
from bench.generation.encode import ImageWriter, encode, write_image
from bench.generation.journal import JOURNAL, Journal
from bench.store import Order, Work
from bench.store.writer import DISK

RANDOM = np.random.default_rng(3)
PIXELS = [RANDOM.integers(0, 256, (16, 24, 3), dtype=np.uint8) for _ in range(5)]


def new_work(tmp_path: Path) -> Work:
    return Work(tmp_path / "w.partial", Order(kind="images", name="n", identity={}), DISK)


def test_png_keeps_every_value() -> None:
    data = encode(PIXELS[0], "png")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), PIXELS[0])
    assert encode(PIXELS[0], "png") == data


@pytest.mark.parametrize("processes", [0, 2])
def test_worker_processes_write_the_same_bytes(tmp_path: Path, processes: int) -> None:
    written: list[tuple[str, str]] = []
    paths = [f"images/{i}.png" for i in range(5)]
    with ImageWriter(
        new_work(tmp_path),
        "png",
        pixels_per_image=16 * 24,
        on_written=lambda found: written.extend(found.items()),
        processes=processes,
    ) as writer:
        writer.write(paths[:2], PIXELS[:2])
        writer.write(paths[2:], PIXELS[2:])
    expected = [hashlib.sha256(encode(p, "png")).hexdigest() for p in PIXELS]
    assert written == list(zip(paths, expected, strict=True))
    found = sorted((tmp_path / "w.partial/images").iterdir())
    assert [p.name for p in found] == [f"{i}.png" for i in range(5)]
    assert [p.read_bytes() for p in found] == [encode(p, "png") for p in PIXELS]


def test_a_workers_failure_is_not_lost(tmp_path: Path) -> None:
    work = new_work(tmp_path)
    (work.path / "images/1.png").mkdir(parents=True)
    written: list[str] = []
    with (
        pytest.raises(StoreError, match=r"1\.png"),
        ImageWriter(
            work, "png", pixels_per_image=1, on_written=written.extend, processes=1
        ) as writer,
    ):
        writer.write(["images/0.png", "images/1.png", "images/2.png"], PIXELS[:3])
    assert "images/1.png" not in written


def test_small_images_are_encoded_here_and_large_ones_elsewhere(tmp_path: Path) -> None:
    work = new_work(tmp_path)

    def processes(pixels: int) -> int:
        writer = ImageWriter(work, "png", pixels_per_image=pixels, on_written=lambda _: None)
        return writer._processes

    assert processes(32 * 32) == 0
    assert processes(512 * 512) >= 1


def test_the_journal_believes_only_matching_bytes(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    names = [f"images/{i}.png" for i in range(4)]
    journal = Journal(tmp_path)
    assert journal.made == {}
    digests = {n: write_image(tmp_path / n, p, "png") for n, p in zip(names, PIXELS, strict=False)}
    journal.add(digests)
    assert Journal(tmp_path).made == digests
    (tmp_path / names[0]).unlink()
    (tmp_path / names[1]).write_bytes(b"")
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"path": "images/9.png", "sha')
    again = Journal(tmp_path)
    assert set(again.made) == set(names[2:])
    again.add({"images/0.png": write_image(tmp_path / names[0], PIXELS[0], "png")})
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [*names[2:], names[0]]


def test_encoders_end_with_a_killed_parent(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from bench.generation.encode import ImageWriter\n"
        "from bench.store import DISK, Order, Work\n"
        "if __name__ == '__main__':\n"
        "    work = Work(Path(sys.argv[1]), Order(kind='images', name='n', identity={}), DISK)\n"
        "    pixels = np.zeros((8, 8, 3), np.uint8)\n"
        "    with ImageWriter(work, 'png', pixels_per_image=1, on_written=lambda _: None,\n"
        "                     processes=2) as writer:\n"
        "        writer.write(['images/0.png'], [pixels])\n"
        "        print(*writer._pool._processes, flush=True)\n"
        "        writer._collect(0)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "w")],
        env=environment,
        # a file: a pipe would stay open as long as any worker lives
        stdout=(tmp_path / "out").open("wb"),
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    workers = [int(word) for word in (tmp_path / "out").read_text().split()]
    assert workers
    deadline = time.monotonic() + 30
    while any(_runs(pid) for pid in workers):
        assert time.monotonic() < deadline, f"{workers} outlived their parent"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
