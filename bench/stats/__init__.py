"""Intervals, paired tests and claim verdicts. Imports numpy, never torch."""

from bench.stats.bootstrap import clustered_mean, paired_difference
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
    AdditiveSums,
    Jackknife,
    assign_blocks,
    block_jackknife,
    combine,
    paired_block_jackknife,
    require_equal_n,
)
from bench.stats.multiplicity import holm

__all__ = [
    "AdditiveSums",
    "Claim",
    "CrossedEstimate",
    "Jackknife",
    "Part",
    "Parts",
    "Verdict",
    "assign_blocks",
    "block_jackknife",
    "clustered_mean",
    "clustered_stderr",
    "combine",
    "crossed_difference",
    "crossed_mean",
    "crossed_metric",
    "crossed_metric_difference",
    "holm",
    "judge",
    "paired_block_jackknife",
    "paired_difference",
    "require_equal_n",
]
