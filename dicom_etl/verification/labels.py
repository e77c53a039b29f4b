"""A row of a dataset as the label checks see it."""

from __future__ import annotations

from dicom_etl.checks.measurements import Drawn, gather
from dicom_etl.dataset import schema
from dicom_etl.dataset.reading import Block, DatasetReader
from dicom_etl.geometry.polygons import polygon_area


def draw(rows: DatasetReader, block: Block, index: int, image_key: int) -> Drawn:
    """Gather what was drawn by hand on the row at a position in a block, as ingest did."""
    by_hand = block["origin"][index] == schema.MANUAL
    rings = {name: block.rings[name][index] if by_hand else () for name in rows.structures}
    spacing = block["pixel_spacing_mm"][index].tolist()
    return gather(
        patient_id=str(block["patient_id"][index]),
        image=str(block["source_image"][index]),
        location_index=int(block["location_index"][index]),
        phase_index=int(block["phase_index"][index]),
        trigger_time_ms=float(block["trigger_time_ms"][index]),
        pixel_spacing_mm=(spacing[0], spacing[1]),
        pixels=rows.images[block.start + index],
        rings=rings,
        paths={name: str(block[f"source_{name}"][index]) for name in rows.structures},
        areas_px={name: polygon_area(outline) if outline else 0.0 for name, outline in rings.items()},
        image_key=image_key,
        frame=int(block["frame"][index]),
    )
