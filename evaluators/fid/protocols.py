"""What a FID or an inception score means: captions, files, resize, network, reference. Pure data.

Numbers under unlike protocols are not comparable: resize rule and file format alone move FID by
points. Published "FID-30K" numbers follow several; the named ones here are those with anchors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.api.errors import ProtocolError, UsageError, did_you_mean

EXTRACTOR = "inception-v3-2015-12-05"
VERSION = 1
"""Bumped when a named protocol changes."""
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class FidProtocol:
    """Everything that makes two numbers comparable, beside model and sampler.

    Attributes:
        name: e.g. `"bksdm-30k"`.
        captions: what the images are of, in words.
        images: how many are measured; None leaves it open.
        formats: of the files that are measured (`"PNG"`, `"JPEG"`); empty leaves it open.
        preparation: done to every picture, measured or reference; see `inception_input`.
        resize: rule of the features' 299 x 299 input; see `inception_input`.
        logits_resize: the same for the classifier, which another library read.
        reference: the reference set, in words.
        reference_images: how many it has; None leaves it open.
        anchors: published numbers under it, in words, with their source.
        source: where it is written down.
    """

    name: str
    captions: str = "any"
    images: int | None = None
    formats: tuple[str, ...] = ()
    preparation: str = "none"
    resize: str
    logits_resize: str = "tensorflow"
    reference: str = "any"
    reference_images: int | None = None
    anchors: str = ""
    source: str = ""

    def identity(self) -> dict[str, Any]:
        """Return what of it changes numbers, JSON-able."""
        return {
            "name": self.name,
            "version": VERSION,
            "extractor": EXTRACTOR,
            "preparation": self.preparation,
            "resize": self.resize,
            "logits_resize": self.logits_resize,
            "formats": list(self.formats),
            "images": self.images,
            "reference_images": self.reference_images,
        }

    def says(self) -> str:
        """Return it in one line, for the foot of a table."""
        count = "" if self.images is None else f"{self.images:,} images, "
        files = f"from {' or '.join(self.formats)}, " if self.formats else ""
        how = "" if self.preparation == "none" else f"{self.preparation}, "
        return (
            f"protocol {self.name}: {count}captions: {self.captions}; {files}{how}"
            f"{self.resize} resize ({self.logits_resize} for class scores), {EXTRACTOR}; "
            f"reference: {self.reference}"
        )

    def require_files(self, formats: Mapping[str, str]) -> None:
        """Make sure that measured files are of the protocol's format.

        Args:
            formats: by file name, PIL's name of its format.

        Raises:
            ProtocolError: some are not; the first are named.
        """
        wrong = [f"{n} ({f})" for n, f in formats.items() if self.formats and f not in self.formats]
        if wrong:
            raise ProtocolError(
                f"FID protocol {self.name} measures {' or '.join(self.formats)} files, and "
                f"{len(wrong)} of {len(formats)} are not: {', '.join(wrong[:_SHOWN])}. Lossy "
                "compression moves FID by points: generate them in that format, or choose a "
                "protocol that says otherwise."
            )

    def require_counts(self, *, measured: int | None = None, reference: int | None = None) -> None:
        """Make sure that both sets have as many images as the protocol says.

        FID's bias goes with one over the number of images, so it is not comparable across them.

        Raises:
            ProtocolError: a number is another.
        """
        wrong = [
            f"{given:,} {what} images instead of {wanted:,}"
            for what, given, wanted in (
                ("measured", measured, self.images),
                ("reference", reference, self.reference_images),
            )
            if given is not None and wanted is not None and given != wanted
        ]
        if wrong:
            raise ProtocolError(
                f"FID protocol {self.name} was given {' and '.join(wrong)}; a FID over another "
                "number is not comparable. Use all images, or a custom protocol "
                f"(fid-{self.resize}) under its own name."
            )


_COCO = "30,000 captions of COCO val2014, one image each"
_VAL2014 = "all 40,504 images of COCO val2014"

BKSDM_30K = FidProtocol(
    name="bksdm-30k",
    captions=f"{_COCO} (metadata.csv of Nota's BK-SDM)",
    images=30_000,
    formats=("PNG",),
    preparation="squash-256-jpeg75",
    resize="pytorch-fid",
    reference=f"{_VAL2014}, prepared alike (resized, not cropped)",
    reference_images=40_504,
    anchors="SD-1.4: FID 13.05, IS 36.76 (BK-SDM, Table 1)",
    source="Kim et al., ECCV 2024; Nota-NetsPresso/BK-SDM",
)
DDSPO_30K = FidProtocol(
    name="ddspo-30k",
    captions=BKSDM_30K.captions,
    images=30_000,
    # no format is asked for: a JPEG file that was taken into a store is decoded there
    preparation="squash-256-jpeg75",
    resize="pytorch-fid",
    reference=BKSDM_30K.reference,
    reference_images=40_504,
    anchors="SD-1.4 + DDSPO: FID 16.39, IS 38.10 (DDSPO, Table 1a)",
    source="dohyun-as/DDSPO, evaluation scripts: as bksdm-30k with images stored as JPEG first",
)
GIGAGAN_30K = FidProtocol(
    name="gigagan-30k",
    captions=_COCO,
    images=30_000,
    formats=("PNG",),
    preparation="centre-256-lanczos",
    resize="clean",
    reference=f"{_VAL2014}, middle square, Lanczos to 256 x 256",
    reference_images=40_504,
    anchors="SD-1.5: FID 9.62; GigaGAN: 9.09 (GigaGAN, Table 2)",
    source="Kang et al., CVPR 2023; mingukkang/GigaGAN, evaluation",
)
CUSTOM_CLEAN = FidProtocol(name="custom-clean", resize="clean")
CUSTOM_PYTORCH = FidProtocol(name="custom-pytorch-fid", resize="pytorch-fid")
CUSTOM_TENSORFLOW = FidProtocol(name="custom-tensorflow", resize="tensorflow")

PROTOCOLS: Mapping[str, FidProtocol] = {
    p.name: p
    for p in (
        BKSDM_30K,
        DDSPO_30K,
        GIGAGAN_30K,
        CUSTOM_CLEAN,
        CUSTOM_PYTORCH,
        CUSTOM_TENSORFLOW,
    )
}


def protocol(name: str) -> FidProtocol:
    """Return a protocol by name; `custom` is `custom-clean` (UsageError: there is none)."""
    if name == "custom":
        return CUSTOM_CLEAN
    if name not in PROTOCOLS:
        raise UsageError(f"unknown FID protocol {name!r}.{did_you_mean(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def backend_of(found: FidProtocol) -> str:
    """Return the name of the back-end that makes features under a protocol."""
    return "fid-" + found.name.removeprefix("custom-")
