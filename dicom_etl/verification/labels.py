"""A row of a dataset as the label checks see it."""

from __future__ import annotations

from dicom_etl.checks.measurements import Drawn, gather
from dicom_etl.dataset import schema
from dicom_etl.verification.derivation import Derived


def draw(study: Derived, index: int, image_key: int) -> Drawn:
    """Gather what was drawn by hand on the row at a position in the block of a study, as ingest did."""
    rows, block = study.rows, study.block
    by_hand = block["origin"][index] == schema.MANUAL
    spacing = block["pixel_spacing_mm"][index].tolist()
    return gather(
        patient_id=str(block["patient_id"][index]),
        image=str(block["source_image"][index]),
        location_index=int(block["location_index"][index]),
        phase_index=int(block["phase_index"][index]),
        trigger_time_ms=float(block["trigger_time_ms"][index]),
        pixel_spacing_mm=(spacing[0], spacing[1]),
        pixels=rows.images[block.start + index],
        outlines={name: study.outline(name, index) if by_hand else None for name in rows.structures},
        paths={name: str(block[f"source_{name}"][index]) for name in rows.structures},
        image_key=image_key,
        frame=int(block["frame"][index]),
    )
