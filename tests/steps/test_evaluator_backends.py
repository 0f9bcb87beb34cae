"""An evaluator may give its roles to other back-ends than the profile's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.api import UsageError
from bench.spec.profile import load_profile
from bench.spec.request import make_request
from bench.steps.cells import build_graph
from bench.steps.hub_models import hub_models
from bench.steps.predictions import PredictionStep
from bench.store import Store


def test_compbench_has_a_detector_of_its_own_in_the_paper_profile() -> None:
    profile = load_profile("paper")
    assert profile.backends["detector"] == "geneval-hf"
    assert profile.of_evaluator("geneval") is profile
    own = profile.of_evaluator("t2i-compbench").backends
    assert {role: own[role] for role in ("detector", "vqa", "clip")} == {
        "detector": "compbench-ovd",
        "vqa": "blip-vqa",
        "clip": "clip",
    }
    plus = profile.of_evaluator("t2i-compbench-plus").backends
    assert (plus["detector_r50"], plus["depth"]) == ("compbench-ovd", "dpt-depth")
    official = load_profile(
        "paper", overrides=["evaluator_backends.t2i-compbench.detector=compbench-unidet"]
    )
    assert official.of_evaluator("t2i-compbench").backends["detector"] == "compbench-unidet"


def test_an_unknown_evaluator_is_refused() -> None:
    with pytest.raises(UsageError, match=r"evaluator_backends.*t2i-compbenhc.*t2i-compbench"):
        load_profile("paper", overrides=["evaluator_backends.t2i-compbenhc.detector=clip"])
    with pytest.raises(UsageError, match=r"evaluator_backends\.geneval"):
        load_profile("paper", overrides=["evaluator_backends.geneval=clip"])


def test_the_models_of_a_table_are_those_of_its_evaluators() -> None:
    request = make_request("1a", "paper")
    found = {
        model.repository: model.purpose for model in hub_models(request.table, request.profile)
    }
    assert "GE" in found["facebook/mask2former-swin-small-coco-instance"]
    assert "detector of CB: compbench-ovd" in found["google/owlv2-base-patch16-ensemble"]
    assert "google-bert/bert-base-uncased" in found


def test_other_columns_keep_their_back_end(tmp_path: Path) -> None:
    change = "evaluator_backends.t2i-compbench.detector=compbench-ovd"
    request = make_request("1a", "tiny", rows=("base",), columns=("GE", "CB"), overrides=(change,))
    graph = build_graph(request, Store(tmp_path)).graph
    detectors = {
        node.upstream["images"].rpartition("/")[2]: node.backend
        for node in graph
        if isinstance(node, PredictionStep) and node.name.endswith("-detector")
    }
    by_suite = {
        name: next(b for n, b in detectors.items() if name in n)
        for name in ("geneval", "compbench")
    }
    assert by_suite == {"geneval": "tiny-detector", "compbench": "compbench-ovd"}
