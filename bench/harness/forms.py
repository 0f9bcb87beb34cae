"""A study of people: two systems' images side by side, as forms to be filled in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.api.errors import UsageError
from bench.harness.parts import Setting
from bench.harness.repairs import with_repairs
from bench.harness.scoring import Pictures, measured_set
from bench.harness.votes import Forms, asks_people, write_forms
from bench.store import Store


def make_forms(
    images: tuple[Pictures, Pictures],
    folder: Path | str,
    evaluator: str = "human",
    profile: str = "tiny",
    *,
    per_prompt: int = 1,
    limit: int | None = None,
    forms: int = 1,
    seed: int = 0,
    overrides: Sequence[str] = (),
    protocol: str | None = None,
    trust: bool = False,
    store: Path | str = "outputs",
) -> Forms:
    """Write forms for people; `score(evaluator="human", votes=[...])` takes what comes back.

    Args:
        images: the candidate's and the other's, as `score` takes them.
        folder: where the forms go, an HTML page each.
        evaluator: one that is measured by votes.
        profile, overrides, protocol, trust: as in `score`: they say what images must be like.
        per_prompt: pairs of each prompt.
        limit: about so many prompts, stratified by task.
        forms: how many, of unlike orders and sides.
        seed: of prompts, orders and sides.
        store: the folder artifacts lie in; it keeps the key.

    Raises:
        UsageError: the evaluator asks no people, or a number is out of range.
        ProtocolError: the sides are of unlike prompts.
        StoreError: the folder cannot be written.
    """
    if not asks_people(evaluator):
        raise UsageError(f"{evaluator} is not measured by votes of people; it takes no forms.")
    setting = Setting(
        profile=profile, overrides=overrides, protocol=protocol, trust=trust, store=store
    )

    def action() -> Forms:
        pairs = measured_set(
            setting, images, evaluator, per_prompt=per_prompt, limit=limit, seed=seed
        )
        return write_forms(Store(Path(store)), pairs, Path(folder), forms=forms, seed=seed)

    return with_repairs(action)
