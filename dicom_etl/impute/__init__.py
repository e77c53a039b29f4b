"""Contours for slices that nobody drew, made of the drawn ones beside them in space or time.

Everything here is pure: coordinates, contours and pixels in, contours out. Which slices are filled, and from
which, is decided in `parents`; what the contour is, in `estimate`; how good that is, in `score`.
"""
