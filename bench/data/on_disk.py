"""A stored pair set as the training loop reads it: memory-mapped, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bench.api.errors import CorruptArtifactError, UsageError
from bench.api.method import Batch
from bench.data.pairs import LATENTS_FILE, REPORT_FILE, ROWS_FILE, TEXT_LIST_FILE, TEXTS_FILE
from bench.data.spec import KIND, PairRow
from bench.store import Artifact, read_jsonl, read_safetensors
from bench.training.source import controlled


class PairsOnDisk:
    """The pairs of an artifact; a `bench.training.source.PairSource`.

    Only the rows of a batch are read. Latents and conditions are float32 in a batch, whatever
    they are stored in.

    Args:
        artifact: of kind `"pairs"`.
        identity_degraded, shuffle_seed: control rows; see `bench.training.source.controlled`.

    Raises:
        UsageError: the artifact is of another kind.
        CorruptArtifactError: its bytes were changed, or its files do not fit together.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        identity_degraded: bool = False,
        shuffle_seed: int | None = None,
    ) -> None:
        if artifact.kind != KIND:
            raise UsageError(f"{artifact.id} is of kind {artifact.kind!r}; expected {KIND!r}.")
        self.artifact = artifact
        self.identity_degraded = identity_degraded
        self.shuffle_seed = shuffle_seed
        self.rows = tuple(PairRow(**row) for row in read_jsonl(artifact.file(ROWS_FILE)))
        latents = read_safetensors(artifact.file(LATENTS_FILE), ("winner", "loser"))
        self._winner, self._loser = latents["winner"], latents["loser"]
        self._conditions = read_safetensors(artifact.file(TEXTS_FILE))
        texts = [row["text"] for row in read_jsonl(artifact.file(TEXT_LIST_FILE))]
        place = {text: number for number, text in enumerate(texts)}
        try:
            self._prompt = np.array([place[row.prompt] for row in self.rows])
            self._degraded = np.array([place[row.degraded] for row in self.rows])
        except KeyError as error:
            raise self._corrupt(f"{TEXT_LIST_FILE} lacks the text {error}") from error
        for name, array, length in (
            ("winner", self._winner, len(self.rows)),
            ("loser", self._loser, len(self.rows)),
            *((name, array, len(texts)) for name, array in self._conditions.items()),
        ):
            if len(array) != length:
                raise self._corrupt(f"{name} has {len(array)} rows instead of {length}")

    def _corrupt(self, fault: str) -> CorruptArtifactError:
        return CorruptArtifactError(
            f"{self.artifact.path}: {fault}.\n"
            "  to mend it: remove the folder and run the same command again",
            artifact_path=self.artifact.path,
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def identity(self) -> dict[str, Any]:
        """The hash of the stored bytes, and the controls."""
        return {
            "pairs": self.artifact.content_sha256,
            "identity_degraded": self.identity_degraded,
            "shuffle_seed": self.shuffle_seed,
        }

    @property
    def report(self) -> dict[str, Any]:
        """What is known of the pairs; see `bench.data.report`."""
        return dict(self.artifact.read_json(REPORT_FILE))

    def batch(self, indices: Sequence[int], device: torch.device) -> Batch:
        """Return the pairs at `indices` on `device`, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        pairs = Batch(
            winner=self._read(self._winner, rows, device),
            loser=self._read(self._loser, rows, device),
            condition=self._condition(self._prompt[rows], device),
            degraded=self._condition(self._degraded[rows], device),
            index=torch.from_numpy(rows).to(device),
        )
        return controlled(
            pairs, identity_degraded=self.identity_degraded, shuffle_seed=self.shuffle_seed
        )

    def _condition(self, rows: np.ndarray, device: torch.device) -> dict[str, torch.Tensor]:
        return {name: self._read(array, rows, device) for name, array in self._conditions.items()}

    @staticmethod
    def _read(array: np.ndarray, rows: np.ndarray, device: torch.device) -> torch.Tensor:
        # copied into torch's own memory: numpy's is aligned to 16 bytes only, and a matrix
        # product may round otherwise when it starts at another address
        read = torch.from_numpy(array[rows]).clone()
        return read.to(device, torch.float32 if read.is_floating_point() else None)
