"""What happens to one slice. Pure: each function depends on nothing but its arguments, so it runs in any process.

What imputes is imported where it is used: most runs, and their workers, have no need of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dicom_etl.checks.decisions import ANY, DROPPED, STAGE
from dicom_etl.checks.review import review_sample
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import contour_key
from dicom_etl.dicom import announce
from dicom_etl.dicom.files import limits_of
from dicom_etl.errors import ItemError
from dicom_etl.records import EncodedSample, Image, Issue, SamplePlan
from dicom_etl.stages import parse, rasterize, write
from dicom_etl.stages.parse import Source

if TYPE_CHECKING:
    from dicom_etl.impute.estimate import Parent
    from dicom_etl.stages.impute import ImputePlan


class Made(NamedTuple):
    """A row, and what it is as a parent of imputed ones, by structure in the dataset's order; empty for none."""

    sample: EncodedSample
    parents: tuple[Parent | None, ...]


@dataclass(frozen=True, slots=True)
class SampleMaker:
    """Makes samples of a run: reads, draws and encodes each; a contour that cannot be used costs that contour alone."""

    source: Source
    spec: schema.DatasetSpec

    def __call__(self, plan: SamplePlan) -> EncodedSample:
        """Make one."""
        image, read = read_slice(plan, self.source)
        return self._encode(plan, image, read)

    def announce(self, plan: SamplePlan) -> None:
        """Have its image decoded while the one before is made."""
        announce(self.source.roots.place(plan.image), plan.header, limits_of(self.source.config))

    def parent(self, plan: SamplePlan) -> Made:
        """Make one from which others will be imputed."""
        from dicom_etl.stages import impute

        image, read = read_slice(plan, self.source)
        own = impute.as_slice(np.asarray(image.pixels, dtype=self.spec.dtype), image.header)
        parents = impute.prepare(own, read.outlines, self.spec.structures)
        return Made(self._encode(plan, image, read), parents)

    def imputed(self, plan: ImputePlan) -> Made:
        """Read a slice that nobody drew, impute its contours, draw and encode it."""
        from dicom_etl.stages import impute

        config = self.source.config
        image, _ = rasterize.to_grid(parse.parse_image(plan.sample, self.source), {}, config)
        target = impute.as_slice(np.asarray(image.pixels, dtype=self.spec.dtype), image.header)
        outlines, imputed = impute.impute_slice(
            target, plan, self.spec.structures, mode=config.impute or "", way=config.impute_way
        )
        sample = self._encode(plan.sample, image, parse.Parsed(outlines, {}, [], {}), imputed)
        parents = impute.prepare(target, outlines, self.spec.structures) if plan.is_parent else ()
        return Made(sample, parents)

    def _encode(
        self, plan: SamplePlan, image: Image, read: parse.Parsed, imputed: dict[str, Any] | None = None
    ) -> EncodedSample:
        masks = {
            structure: rasterize.draw_mask(outline, image.pixels.shape, self.source.config)
            for structure, outline in read.outlines.items()
        }
        sample = write.encode_sample(plan, image, read, masks, self.spec, imputed)
        drawn = {name: None if imputed else read.outlines.get(name) for name in self.spec.structures}
        known_simple = not self.source.config.allow_self_intersection
        return review_sample(sample, image.pixels, drawn, known_simple=known_simple)


def read_slice(plan: SamplePlan, source: Source) -> tuple[Image, parse.Parsed]:
    """Read an image and its contours onto the dataset's grid; a bad contour is an issue, a bad image an `ItemError`."""
    image = parse.parse_image(plan, source)
    parsed = parse.parse_labels(plan, source, image.header)
    image, outlines = rasterize.to_grid(image, parsed.outlines, source.config)
    return image, _without_drops(plan, parsed._replace(outlines=outlines))


def _without_drops(plan: SamplePlan, parsed: parse.Parsed) -> parse.Parsed:
    """Leave out the labels that a person decided to drop, as long as they have the points that the decision names."""
    if not plan.drops:
        return parsed
    outlines, issues = dict(parsed.outlines), list(parsed.issues)
    sources = {label.structure: label.ref.source for label in plan.labels}
    about: dict[str, Any] = {"other_path": plan.image, "frame": plan.header.frame, "study": plan.study}
    for drop in plan.drops:
        for name in [each for each in outlines if drop.structure in (ANY, each)]:
            if drop.key in (None, contour_key(outlines[name].rings)):
                del outlines[name]
                path, message = sources.get(name, plan.image), "left out by decision"
                issues.append(Issue("note", DROPPED, message, STAGE, path, plan.patient_id, name, **about))
    return parsed._replace(outlines=outlines, issues=issues)


def item_issue(error: ItemError, stage: str, path: str, patient_id: str, *, frame: int = -1) -> Issue:
    """Turn the error of one item into an issue."""
    message = f"{error}; left out"
    return Issue("error", error.code, message, stage, path, patient_id, frame=frame)
