"""Turn folders of DICOM slices and contour files into one verified HDF5 dataset, and feed batches from it."""

__version__ = "0.1.0"
