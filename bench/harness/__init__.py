"""The door from Python: whatever a verb of the command line does, without its arguments.

    from bench import harness

    table = harness.run("1a", rows=["base", "ddspo"], columns=["GE"], limit=24)
    trained = harness.train("ddspo")
    images = harness.generate(trained, limit=24)
    scores = harness.score(images, "geneval")

Nothing is printed; progress is told to `on_event`, an `Event` each. Imports neither torch nor
anything else until a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.executors.outcome import Event as Event
    from bench.executors.outcome import Failure as Failure
    from bench.executors.outcome import Outcome as Outcome
    from bench.executors.plan import Plan as Plan
    from bench.harness.checking import CheckReport as CheckReport
    from bench.harness.checking import check as check
    from bench.harness.comparison import Comparison as Comparison
    from bench.harness.comparison import compare as compare
    from bench.harness.curation import Curated as Curated
    from bench.harness.curation import CurationRequest as CurationRequest
    from bench.harness.curation import curate as curate
    from bench.harness.diagnosis import Diagnosis as Diagnosis
    from bench.harness.diagnosis import doctor as doctor
    from bench.harness.folders import Folder as Folder
    from bench.harness.forms import make_forms as make_forms
    from bench.harness.images import Images as Images
    from bench.harness.images import generate as generate
    from bench.harness.parts import FailedError as FailedError
    from bench.harness.plans import plan as plan
    from bench.harness.power import plan_power as plan_power
    from bench.harness.references import build_reference as build_reference
    from bench.harness.requests import request_for as request_for
    from bench.harness.result import TableResult as TableResult
    from bench.harness.scales import choose_scale as choose_scale
    from bench.harness.scales import measure_scales as measure_scales
    from bench.harness.scores import Scores as Scores
    from bench.harness.scoring import score as score
    from bench.harness.tables import open_table as open_table
    from bench.harness.tables import run as run
    from bench.harness.training import Training as Training
    from bench.harness.training import TrainingPlan as TrainingPlan
    from bench.harness.training import plan_training as plan_training
    from bench.harness.training import train as train
    from bench.harness.validation import validate as validate

_ROOMS = {
    "Event": "bench.executors.outcome",
    "Failure": "bench.executors.outcome",
    "Outcome": "bench.executors.outcome",
    "Plan": "bench.executors.plan",
    "CheckReport": "bench.harness.checking",
    "check": "bench.harness.checking",
    "Comparison": "bench.harness.comparison",
    "compare": "bench.harness.comparison",
    "Curated": "bench.harness.curation",
    "CurationRequest": "bench.harness.curation",
    "curate": "bench.harness.curation",
    "Diagnosis": "bench.harness.diagnosis",
    "doctor": "bench.harness.diagnosis",
    "Folder": "bench.harness.folders",
    "make_forms": "bench.harness.forms",
    "Images": "bench.harness.images",
    "generate": "bench.harness.images",
    "FailedError": "bench.harness.parts",
    "plan": "bench.harness.plans",
    "plan_power": "bench.harness.power",
    "build_reference": "bench.harness.references",
    "request_for": "bench.harness.requests",
    "TableResult": "bench.harness.result",
    "choose_scale": "bench.harness.scales",
    "measure_scales": "bench.harness.scales",
    "Scores": "bench.harness.scores",
    "score": "bench.harness.scoring",
    "open_table": "bench.harness.tables",
    "run": "bench.harness.tables",
    "Training": "bench.harness.training",
    "TrainingPlan": "bench.harness.training",
    "plan_training": "bench.harness.training",
    "train": "bench.harness.training",
    "validate": "bench.harness.validation",
}
__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    """Return a name of the door, from the file it is in."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted(_ROOMS)
