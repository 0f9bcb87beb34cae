"""A stored pair set as the training loop reads it: memory-mapped, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bench.api.errors import CorruptArtifactError, UsageError
from bench.api.method import Batch
from bench.data import augmentation
from bench.data.pairs import LATENTS_FILE, REPORT_FILE, ROWS_FILE, TEXT_LIST_FILE
from bench.data.spec import KIND
from bench.data.stored import StoredRow
from bench.data.texts import ENCODER_FILE, TEXTS_FILE, Conditions, no_conditions
from bench.store import Artifact, read_jsonl, read_safetensors
from bench.training.source import Visits, controlled

_SCANNED = 256  # rows looked at together for NaN


class PairsOnDisk:
    """The pairs of an artifact; a `bench.training.source.PairSource`.

    Where the set holds what is drawn from at every visit (`bench.data.augmentation`), its pairs
    are a function of the visit: `augmented` gives them, and `batch` refuses.

    Only the rows of a batch are read. Latents and conditions are float32 in a batch, whatever
    they are stored in. A set may lack losers (`Batch.loser` is None), degraded prompts, or both.

    Args:
        artifact: of kind `"pairs"`.
        identity_degraded, shuffle_seed: control rows; see `bench.training.source.controlled`.
        encode: makes conditions of texts, for a set that does not store them; see
            `bench.data.texts.conditions_of`.

    Attributes:
        rows: what is known of each pair.
        labels: (N,) +1 or -1 of each image, for sets of single images; None for pairs.

    Raises:
        UsageError: the artifact is of another kind, or nothing gives conditions of its texts.
        CorruptArtifactError: its bytes were changed, its files do not fit together, or a latent
            is NaN; the message names file, row and cure.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        identity_degraded: bool = False,
        shuffle_seed: int | None = None,
        encode: Conditions | None = None,
    ) -> None:
        if artifact.kind != KIND:
            raise UsageError(f"{artifact.id} is of kind {artifact.kind!r}; expected {KIND!r}.")
        self.artifact = artifact
        self.identity_degraded = identity_degraded
        self.shuffle_seed = shuffle_seed
        rows = read_jsonl(artifact.file(ROWS_FILE))
        try:
            self.rows = tuple(StoredRow.from_json(row) for row in rows)
        except TypeError as error:
            raise self._corrupt(ROWS_FILE, f"a row lacks a key: {error}") from error
        latents = read_safetensors(artifact.file(LATENTS_FILE))
        if "winner" not in latents:
            raise self._corrupt(LATENTS_FILE, "there is no tensor 'winner'")
        self._latents = latents
        self._encode = encode
        self._conditions: dict[str, np.ndarray] = {}
        if ENCODER_FILE not in artifact.files:
            self._conditions = read_safetensors(artifact.file(TEXTS_FILE))
        elif encode is None:
            raise no_conditions(artifact)
        self._texts = texts = [row["text"] for row in read_jsonl(artifact.file(TEXT_LIST_FILE))]
        self._require_shapes(latents, len(texts))
        place = {text: number for number, text in enumerate(texts)}
        self._prompt = self._places([row.prompt for row in self.rows], place)
        self._degraded: np.ndarray | None = None
        degraded = [row.degraded for row in self.rows if row.degraded is not None]
        if degraded:
            if len(degraded) != len(self.rows):
                first = next(n for n, row in enumerate(self.rows) if row.degraded is None)
                raise self._corrupt(ROWS_FILE, "has no degraded prompt, and others have", first)
            self._degraded = self._places(degraded, place)
        self.labels = self._labels()
        self._require_finite(latents)

    def _corrupt(self, file: str, fault: str, row: int | None = None) -> CorruptArtifactError:
        where = f"{self.artifact.path / file}"
        if row is not None:
            where += f", row {row} ({self.rows[row].id}: {self.rows[row].prompt[:60]!r})"
        return CorruptArtifactError(
            f"{where}: {fault}.\n  to mend it: remove the folder and run the same command again",
            artifact_path=self.artifact.path,
        )

    def _places(self, texts: Sequence[str], place: dict[str, int]) -> np.ndarray:
        for row, text in enumerate(texts):
            if text not in place:
                raise self._corrupt(TEXT_LIST_FILE, f"lacks its text {text!r}", row)
        return np.array([place[text] for text in texts], dtype=np.int64)

    def _labels(self) -> np.ndarray | None:
        labels = [row.label for row in self.rows]
        if all(label is None for label in labels):
            return None
        for row, label in enumerate(labels):
            if label not in (1, -1):
                raise self._corrupt(ROWS_FILE, f"has the label {label!r}; expected 1 or -1", row)
        return np.array(labels, dtype=np.int64)

    def _require_shapes(self, latents: dict[str, np.ndarray], texts: int) -> None:
        for name, array in latents.items():
            if array.ndim != 4 or len(array) != len(self.rows):
                raise self._corrupt(
                    LATENTS_FILE,
                    f"{name} has shape {array.shape}; expected (N, C, h, w) with {len(self.rows)} "
                    "rows",
                )
        lacking = augmentation.fault(latents)
        if lacking:
            raise self._corrupt(LATENTS_FILE, lacking)
        for name, array in latents.items():
            if array.shape != latents["winner"].shape:
                shapes = f"{name} has shape {array.shape}, winner {latents['winner'].shape}"
                raise self._corrupt(LATENTS_FILE, f"{shapes}; expected equal shapes")
        for name, array in self._conditions.items():
            if len(array) != texts:
                raise self._corrupt(TEXTS_FILE, f"{name} has {len(array)} rows instead of {texts}")

    def _require_finite(self, latents: dict[str, np.ndarray]) -> None:
        for name, array in latents.items():
            for start in range(0, len(array), _SCANNED):
                some = array[start : start + _SCANNED].reshape(-1, array[0].size)
                finite = np.isfinite(some).all(axis=1)
                if not finite.all():
                    row = start + int(np.flatnonzero(~finite)[0])
                    raise self._corrupt(LATENTS_FILE, f"the {name} latents are not finite", row)

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
        """What is known of the pairs; see `bench.data.report` and `bench.data.stored`."""
        return dict(self.artifact.read_json(REPORT_FILE))

    def batch(self, indices: Sequence[int], device: torch.device) -> Batch:
        """Return the pairs at `indices` on `device`, in that order.

        Raises:
            UsageError: the pairs are drawn anew at every visit.
        """
        if augmentation.augmented(self._latents):
            raise UsageError(
                f"the pairs of {self.artifact.id} are drawn anew at every visit: read them with "
                "bench.training.source.read_visits."
            )
        rows = np.asarray(indices, dtype=np.int64)
        images = {
            side: self._read(self._latents[side], rows, device)
            for side in augmentation.SIDES
            if side in self._latents
        }
        return self._batch(rows, images, device)

    def augmented(
        self, indices: Sequence[int], visits: Visits, device: torch.device, *, stream: str = ""
    ) -> Batch:
        """Return the pairs at `indices`, drawn for as many visits; see `AugmentedSource`."""
        if not augmentation.augmented(self._latents):
            return self.batch(indices, device)
        rows = np.asarray(indices, dtype=np.int64)
        images = {
            side: augmentation.draw(self._latents, side, rows, visits, stream=stream).to(device)
            for side in augmentation.SIDES
            if side in self._latents
        }
        return self._batch(rows, images, device)

    def _batch(
        self, rows: np.ndarray, images: dict[str, torch.Tensor], device: torch.device
    ) -> Batch:
        pairs = Batch(
            winner=images["winner"],
            loser=images.get("loser"),
            condition=self._condition(self._prompt[rows], device),
            degraded=None
            if self._degraded is None
            else self._condition(self._degraded[rows], device),
            index=torch.from_numpy(rows).to(device),
            label=None
            if self.labels is None
            else torch.from_numpy(self.labels[rows]).to(device, torch.float32),
        )
        return controlled(
            pairs, identity_degraded=self.identity_degraded, shuffle_seed=self.shuffle_seed
        )

    def _condition(self, rows: np.ndarray, device: torch.device) -> dict[str, torch.Tensor]:
        if not self._conditions and self._encode is not None:
            made = self._encode([self._texts[row] for row in rows])
            return {
                name: tensor.to(device, torch.float32 if tensor.is_floating_point() else None)
                for name, tensor in made.items()
            }
        return {name: self._read(array, rows, device) for name, array in self._conditions.items()}

    @staticmethod
    def _read(array: np.ndarray, rows: np.ndarray, device: torch.device) -> torch.Tensor:
        # copied into torch's own memory: numpy's is aligned to 16 bytes only, and a matrix
        # product may round otherwise when it starts at another address
        read = torch.from_numpy(array[rows]).clone()
        return read.to(device, torch.float32 if read.is_floating_point() else None)
