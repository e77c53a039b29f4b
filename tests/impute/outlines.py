"""Outlines and pictures for tests of imputation."""

from __future__ import annotations

import numpy as np

from dicom_etl.impute.guide import Slice
from dicom_etl.records import FloatArray


def disc(x: float, y: float, radius: float, vertices: int = 90) -> FloatArray:
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    return np.column_stack((x + radius * np.cos(angle), y + radius * np.sin(angle)))


def blob(
    x: float, y: float, radius: float, wobble: float, turn: float = 0.0, vertices: int = 120
) -> FloatArray:
    """A disc with a second and a third harmonic."""
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    r = radius * (1 + wobble * np.cos(2 * (angle - turn)) + wobble / 2 * np.sin(3 * (angle - turn)))
    return np.column_stack((x + r * np.cos(angle), y + r * np.sin(angle)))


def crescent(x: float, y: float, radius: float) -> FloatArray:
    """Half a ring, whose centre of mass lies outside it."""
    angle = np.linspace(0, np.pi, 40)
    outer = np.column_stack((np.cos(angle), np.sin(angle))) * radius
    return np.asarray(np.concatenate((outer, 0.7 * outer[::-1])) + np.array([x, y]))


def heart(
    ring: FloatArray, *, size: int = 96, blood: float = 400.0, wall: float = 100.0, soft: float = 1.0
) -> FloatArray:
    """A picture (size, size), bright inside a star-shaped ring about its mean vertex; its edge is `soft` px wide."""
    centre = ring.mean(axis=0)
    y, x = np.mgrid[:size, :size].astype(float)
    away = np.hypot(x - centre[0], y - centre[1])
    angle = np.arctan2(y - centre[1], x - centre[0])
    steps = ring - centre
    order = np.argsort(np.arctan2(steps[:, 1], steps[:, 0]))
    at = np.arctan2(steps[:, 1], steps[:, 0])[order]
    edge = np.interp(angle, at, np.hypot(*steps.T)[order], period=2 * np.pi)
    return np.asarray(wall + (blood - wall) * np.clip((edge - away) / soft + 0.5, 0, 1))


def blank(
    size: int = 96, spacing: tuple[float, float] = (1.0, 1.0), corner: tuple[float, float] = (0.0, 0.0)
) -> Slice:
    return Slice(np.zeros((size, size)), spacing, corner)
