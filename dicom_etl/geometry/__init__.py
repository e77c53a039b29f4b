"""Pure numpy: frames, millimetres and pixels, slice locations and phases, polygons, coverage, masks, target grid."""
