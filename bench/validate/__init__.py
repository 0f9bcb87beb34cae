"""Checking a plug-in against its contract: what was found, what was expected, how to mend it."""

from bench.validate.run import KINDS, Validation, validate
from bench.validate.sample import EvaluatorSample

__all__ = ["KINDS", "EvaluatorSample", "Validation", "validate"]
