"""The detector's confidence: logistic regression on VAE round trips of known scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.tiny.build.heads import Truths
from bench.tiny.detect import Found, find
from bench.tiny.world import Scene

SCENES = 3000
HELD_OUT = 1000


def correct(found: Found, scene: Scene) -> bool:
    """Whether a detection has shape and colour of a thing whose centre lies in its box."""
    x0, y0, x1, y1 = found.box
    return any(
        t.shape == found.shape and t.color == found.color and x0 <= t.x <= x1 and y0 <= t.y <= y1
        for t in scene.things
    )


def fit_logistic(x: np.ndarray, y: np.ndarray, penalty: float = 1e-2) -> tuple[np.ndarray, float]:
    """Return weights (d,) and bias of a ridge-penalised logistic regression, by Newton's method."""
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    beta = np.zeros(design.shape[1])
    ridge = penalty * np.eye(design.shape[1])
    ridge[-1, -1] = 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (p - y) + ridge @ beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, gradient)
        beta -= step
        if float(np.abs(step).max()) < 1e-9:
            break
    return beta[:-1], float(beta[-1])


def calibrate(truths: Truths, folder: Path) -> dict[str, Any]:
    """Fit on round trips, write `config.json`, return the card's figures on held-out scenes."""
    rows: list[tuple[float, ...]] = []
    right: list[float] = []
    scene_of: list[int] = []
    recalled = things = 0
    for i in range(SCENES):
        seen = find(truths.round_trips[i])
        for found in seen:
            rows.append(found.features())
            right.append(float(correct(found, truths.scenes[i])))
            scene_of.append(i)
    x, y, where = np.array(rows), np.array(right), np.array(scene_of)
    fitted, held = where >= HELD_OUT, where < HELD_OUT
    mean, std = x[fitted].mean(0), x[fitted].std(0)
    weight, bias = fit_logistic((x[fitted] - mean) / std, y[fitted])
    score = 1 / (1 + np.exp(-((x[held] - mean) / std @ weight + bias)))
    truth = y[held]
    for i in range(HELD_OUT):
        names = [(t.shape, t.color) for t in truths.scenes[i].things]
        things += len(names)
        kept = [
            f
            for f, s in zip(find(truths.round_trips[i]), score[where[held] == i], strict=True)
            if s > 0.3
        ]
        recalled += sum((f.shape, f.color) in names for f in kept)
    facts: dict[str, Any] = {
        "scenes": SCENES - HELD_OUT,
        "held_out_detections": int(held.sum()),
        "share_correct": round(float(truth.mean()), 4),
        "precision_at_0.3": round(float(truth[score > 0.3].mean()), 4),
        "precision_at_0.9": round(float(truth[score > 0.9].mean()), 4),
        "kept_at_0.3": round(float((score > 0.3).mean()), 4),
        "kept_at_0.9": round(float((score > 0.9).mean()), 4),
        "recall_at_0.3": round(recalled / things, 4),
        "expected_calibration_error": round(_error(score, truth), 4),
    }
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "mean": [round(float(v), 6) for v in mean],
        "std": [round(float(v), 6) for v in std],
        "weight": [round(float(v), 6) for v in weight],
        "bias": round(bias, 6),
        "features": ["overlap", "margin", "purity", "strength", "log_area"],
    }
    (folder / "config.json").write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
    return facts


def _error(score: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    index = np.minimum((score * bins).astype(int), bins - 1)
    gaps = [
        abs(score[index == k].mean() - truth[index == k].mean()) * float((index == k).mean())
        for k in range(bins)
        if (index == k).any()
    ]
    return float(sum(gaps))
