"""A benchmark-and-reproduction harness for preference alignment of text-to-image diffusion models.

Importing this package imports neither torch nor torchvision. It sets how idle OpenMP threads
wait (`bench.environment`) and installs the torchvision guard (`bench.torchvision_guard`), both of
which must be in place before those libraries are imported.
"""

from bench import environment, torchvision_guard

__version__ = "0.1.0"

environment.prefer_passive_waiting()
torchvision_guard.install()
