"""Pictures of a dataset for people: a montage of overlays, and one self-contained page.

Needs the extra ``report`` (Pillow and Jinja2).
"""

from dicom_etl.errors import MissingExtraError

try:
    import jinja2  # noqa: F401
    import PIL.Image  # noqa: F401
except ImportError:
    raise MissingExtraError("drawing a dataset", "report") from None
