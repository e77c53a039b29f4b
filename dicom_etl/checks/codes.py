"""The stable words of findings, and what each means. Programs rely on the words."""

from __future__ import annotations

CODES = {
    "seal-broken": "the bytes are not those that ingest sealed, or not those that --expect names",
    "schema": "names, types, shapes or attributes are not those of the format",
    "digest-mismatch": "the image or a mask of a row does not have the row's SHA-256",
    "mask-differs": "a mask is not what its contour gives under the recorded rule",
    "derived-differs": "a column does not follow from what it is derived from",
    "source-changed": "the dataset is not what SOURCE gives now",
    "duplicate-contour": "one contour stands for two slices or two patients",
    "duplicate-image": "one image stands for two slices or two patients",
    "inner-outside-outer": "an inner contour leaves its outer one",
    "outer-without-inner": "an outer contour is drawn where the inner one is not",
    "contour-outside-image": "a contour leaves the image",
    "self-intersection": "an outline crosses itself",
    "tiny-contour": "a contour encloses next to nothing",
    "constant-image": "an image shows next to nothing",
    "area-jump": "an area is out of step with its neighbours along the stack",
    "study-exchanged": "the contours of a study are not of its images",
    "misaligned": "a contour does not lie on the wall that the image shows",
    "phase-order": "the ventricle is larger at end-systole than at end-diastole, or they lie at the wrong times",
    "patient-in-two-splits": "a patient, or patients that share data, are on two sides of a split",
    "incomplete-series": "a location lacks phases that the others have",
}
"""What `dicom_etl.verification` can find; ingest has further words for inputs that it leaves out."""

NEVER_WAIVED = frozenset({"seal-broken", "digest-mismatch", "schema"})
