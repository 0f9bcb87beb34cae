"""What evaluators of a whole set's features share: one bare record per image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.api import Evaluator, Predictions, PromptSuite, Record
from bench.api.references import References
from evaluators.fid.features import image_records
from evaluators.fid.reference_stats import ReferenceStatistics, read_reference


class DistributionEvaluator(Evaluator):
    """A metric of all images together: a record only says which image it is of."""

    def as_stored(self) -> bool:
        """Return True: pytorch-fid, clean-fid and torch-fidelity turn no photograph."""
        return True

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image: prompt_id, ordinal, tag.

        Raises:
            IncompleteError: an image has no features, naming it.
        """
        return list(image_records(suite, predictions, evaluator=self.spec.name))

    def open_reference(self, path: Path) -> ReferenceStatistics:
        """Read stored reference statistics.

        Raises:
            CorruptArtifactError: the file is damaged, or no such file.
        """
        return read_reference(path)

    def stored_references(self) -> References:
        """Return how reference statistics are made."""
        from evaluators.fid.references import FidReferences

        return FidReferences()
