"""Labels that leave their images: where too many of a stack do, they were not drawn on it, and all are refused.

Numbers cannot tell this. The outlines must be read, so `plan` and `verify` ask for it, and ingest, which reads them
anyway, asks for the studies in which a label leaves its image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from dicom_etl.contours import MASKS
from dicom_etl.records import Issue, SamplePlan, StudyPlan
from dicom_etl.stages import link, parse

LEAVING_SHARE = 0.2
"""Where more of the labels of one format on one stack leave their images, they were drawn on another."""


def refused_stacks(samples: Sequence[SamplePlan], source: parse.Source) -> dict[tuple[int, str], str]:
    """Read the outlines of one study, and say for each stack and format why its labels cannot be drawn on it.

    A stack that was chosen by hand (`series`) refuses nothing but the labels that leave their images.
    """
    if not samples or link.chosen_series(source.config, samples[0].patient_id):
        return {}
    totals: Counter[tuple[int, str]] = Counter()
    leaving: Counter[tuple[int, str]] = Counter()
    examples: dict[tuple[int, str], str] = {}
    for sample in samples:
        labels = tuple(label for label in sample.labels if label.ref.reader not in MASKS)
        left = _leaving(sample._replace(labels=labels), source) if labels else ()
        for label in labels:
            key = sample.stack_index, label.ref.reader
            totals[key] += 1
            if label.ref.source in left:
                leaving[key] += 1
                examples.setdefault(key, f"{label.ref.source} on {sample.image}")
    return {
        key: f"{count} of the {totals[key]} {key[1]} labels on this stack leave their images, as {examples[key]} does: "
        "they were drawn on another, or count pixels otherwise (`contour_origin`); `series` [PATIENT:]NUMBER decides "
        "by hand; the label is left out"
        for key, count in leaving.items()
        if count > LEAVING_SHARE * totals[key]
    }


def without_refused(study: StudyPlan, source: parse.Source, *, unlabeled: bool) -> StudyPlan:
    """Return a study without the labels that `refused_stacks` refuses; bare images stay only with ``unlabeled``."""
    refused = refused_stacks(study.samples, source)
    if not refused:
        return study
    kept: list[SamplePlan] = []
    issues: list[Issue] = []
    lost: Counter[int] = Counter()
    bare = 0
    for sample in study.samples:
        labels = tuple(each for each in sample.labels if (sample.stack_index, each.ref.reader) not in refused)
        out = [each for each in sample.labels if each not in labels]
        lost[sample.stack_index] += len(out)
        for label in out:
            reason = refused[sample.stack_index, label.ref.reader]
            issues.append(label.error(parse.OUTSIDE, reason, link.NAME, sample.patient_id))
        bare += bool(out) and not labels
        if labels or unlabeled:
            kept.append(sample._replace(labels=labels))
    return replace(
        study,
        samples=tuple(kept),
        issues=(*study.issues, *issues),
        unlabeled_count=study.unlabeled_count + bare,
        series=tuple(
            line._replace(labels=line.labels - lost[number]) for number, line in enumerate(study.series)
        ),
    )


def _leaving(sample: SamplePlan, source: parse.Source) -> set[str]:
    found = parse.parse_labels(sample, source, sample.header).issues
    return {issue.path for issue in found if issue.code == parse.OUTSIDE}
