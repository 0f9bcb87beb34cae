"""Intervals, paired tests and claim verdicts. Imports numpy, never torch."""

from bench.stats.bootstrap import clustered_mean
from bench.stats.claims import Claim, Verdict, judge
from bench.stats.clusters import clustered_stderr
from bench.stats.crossed import CrossedEstimate, Part, Parts
from bench.stats.effects import (
    crossed_difference,
    crossed_mean,
    crossed_metric,
    crossed_metric_difference,
)
from bench.stats.jackknife import (
    Jackknife,
    assign_blocks,
    combine,
    require_equal_n,
)
from bench.stats.multiplicity import holm

__all__ = [
    "Claim",
    "CrossedEstimate",
    "Jackknife",
    "Part",
    "Parts",
    "Verdict",
    "assign_blocks",
    "clustered_mean",
    "clustered_stderr",
    "combine",
    "crossed_difference",
    "crossed_mean",
    "crossed_metric",
    "crossed_metric_difference",
    "holm",
    "judge",
    "require_equal_n",
]
