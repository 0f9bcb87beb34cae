"""Set up before any test module is imported: one thread in each process, and the guard."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import bench  # noqa: F401  (installs the torchvision guard)
