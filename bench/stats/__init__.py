"""Intervals, paired tests and claim verdicts. Imports numpy, never torch."""

from bench.stats.bootstrap import clustered_mean, paired_difference
from bench.stats.claims import Claim
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
from bench.stats.seed_claims import Verdict, judge
from bench.stats.seeds import (
    PairedSummary,
    RowValues,
    SeedEstimate,
    over_seeds,
    paired_over_seeds,
    paired_p_value,
    paired_summary,
    seed_differences,
)

__all__ = [
    "AdditiveSums",
    "Claim",
    "CrossedEstimate",
    "Jackknife",
    "PairedSummary",
    "Part",
    "Parts",
    "RowValues",
    "SeedEstimate",
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
    "over_seeds",
    "paired_block_jackknife",
    "paired_difference",
    "paired_over_seeds",
    "paired_p_value",
    "paired_summary",
    "require_equal_n",
    "seed_differences",
]
