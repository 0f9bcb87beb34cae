"""The README's example: it is the file, it fulfils the contract, and it learns."""

import re
from pathlib import Path

import pytest
import torch

from bench.api import Batch, StepContext
from bench.api.registry import METHODS
from bench.training.objective import evaluate_halves
from bench.validate import validate

ROOT = Path(__file__).parents[1]
NAME = "examples.my_method:IPO"


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


def test_the_readme_shows_the_file() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"my_method\.py:begin -->\n```python\n(.*?)```\n<!--", readme, re.DOTALL)
    assert shown
    assert shown[1] == (ROOT / "examples" / "my_method.py").read_text()


def test_it_is_as_short_as_the_readme_says() -> None:
    lines = (ROOT / "examples" / "my_method.py").read_text().splitlines()
    body = lines[next(i for i, line in enumerate(lines) if line.startswith("from ")) :]
    assert len(body) <= 30


def test_it_fulfils_the_contract() -> None:
    validate(NAME).require()


def test_training_on_it_brings_the_preference_to_its_margin() -> None:
    """A policy with one free number per channel learns to prefer the winners by h = margin."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    pairs, shape = 4, (4, 2, 5, 5)
    batch = Batch(
        winner=normal(*shape),
        loser=normal(*shape) + 1.0,
        condition={"text": normal(pairs, 3)},
        degraded=None,
        index=torch.arange(pairs),
    )
    step = StepContext(
        t=torch.full((pairs,), 10),
        noise=normal(*shape),
        add_noise=lambda clean, noise, t: 0.8 * clean + 0.6 * noise,
        true_target=lambda clean, noise, t: noise,
    )
    shift = torch.zeros(2, 1, 1, requires_grad=True)
    method = METHODS.load(NAME)(kappa=10.0)
    optimiser = torch.optim.Adam([shift], lr=0.01)
    losses, gaps = [], []
    for _ in range(150):
        found = evaluate_halves(
            method,
            batch,
            step,
            policy=lambda x, t, c: 0.6 * x + shift,
            reference=lambda x, t, c: 0.6 * x,
        )
        losses.append(float(found.losses.detach().mean()))
        gaps.append(float(-method.kappa * found.delta.mean()))
        optimiser.zero_grad()
        found.losses.mean().backward()
        optimiser.step()
    assert losses[0] == pytest.approx(0.25)  # (0 - margin)^2: policy and reference are equal
    assert losses[-1] < 0.2 * losses[0]
    assert gaps[-1] == pytest.approx(0.5, abs=0.1)
