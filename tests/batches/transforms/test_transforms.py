from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_etl.batches.sampler import sample_generator
from dicom_etl.batches.transforms import (
    CropAround,
    RandomAffine,
    RandomFlip,
    RandomGamma,
    RandomNoise,
    RandomPatches,
    RandomRotate90,
    Transform,
    apply_transforms,
    spatial,
)
from dicom_etl.batches.transforms.base import BatchTransform
from dicom_etl.errors import ConfigError, MissingExtraError

ALL: tuple[Transform, ...] = (
    RandomFlip(),
    RandomRotate90(),
    RandomAffine(rotation_deg=30, shift_px=5, scale=(0.8, 1.25)),
    CropAround((24, 20), jitter_px=3),
    CropAround((70, 20)),
    RandomPatches((16, 12), count=3),
    RandomGamma(),
    RandomNoise(),
)
Arrays = tuple[NDArray[Any], NDArray[np.uint8]]


def disc(shape: tuple[int, int], x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(columns - x, rows - y) <= radius)


def sample(shape: tuple[int, int] = (48, 48), dtype: str = "<i2") -> Arrays:
    """A bright disc in a brighter-to-the-right background, and two masks, one inside the other."""
    outer, inner = disc(shape, 20, 26, 11), disc(shape, 20, 26, 6)
    image = (np.arange(shape[1]) + 1000 * outer + 0 * inner).astype(dtype)
    return image, np.stack([inner, outer]).astype(np.uint8)


def only(transform: Transform, image: NDArray[Any], masks: NDArray[np.uint8], seed: int = 0) -> Arrays:
    (pair,) = apply_transforms([transform], image.copy(), masks.copy(), np.random.default_rng(seed))
    return pair


@pytest.mark.parametrize("transform", ALL, ids=repr)
@pytest.mark.parametrize("dtype", ["<i2", "<u2", "<f4", "<f8"])
def test_dtype_stays_masks_stay_binary_and_structures_stay_nested(transform: Transform, dtype: str) -> None:
    for seed in range(10):
        image, masks = sample(dtype=dtype)
        for changed, changed_masks in apply_transforms(
            [transform], image, masks, np.random.default_rng(seed)
        ):
            assert changed.dtype == image.dtype
            assert changed_masks.dtype == np.uint8
            assert changed_masks.shape == (2, *changed.shape)
            assert set(np.unique(changed_masks)) <= {0, 1}
            assert not (changed_masks[0] & ~changed_masks[1]).any()


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_the_masks_go_where_the_image_goes(transform: Transform) -> None:
    image, masks = sample(dtype="<f4")
    for seed in range(20):
        for changed, changed_masks in apply_transforms(
            [transform], image.copy(), masks.copy(), np.random.default_rng(seed)
        ):
            bright = changed > 500
            if isinstance(transform, RandomAffine):
                overlap = (
                    2 * (bright & (changed_masks[1] == 1)).sum() / (bright.sum() + changed_masks[1].sum())
                )
                assert overlap > 0.97
            elif isinstance(transform, RandomGamma):
                assert (changed[changed_masks[1] == 1].min() > changed[changed_masks[1] == 0].max()).all()
            else:
                np.testing.assert_array_equal(bright, changed_masks[1] == 1)


def test_masks_that_a_transform_spoils_in_their_place_are_refused() -> None:
    def spoil(
        image: NDArray[Any], masks: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        masks[:, 3, 3] = 7
        return image, masks

    with pytest.raises(ConfigError, match="spoil"):
        only(spoil, *sample())


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_the_generator_alone_decides(transform: Transform) -> None:
    def digest(seed: int, epoch: int, row: int) -> bytes:
        image, masks = sample()
        pairs = apply_transforms([transform], image, masks, sample_generator(seed, epoch, row))
        return b"".join(np.ascontiguousarray(part).tobytes() for pair in pairs for part in pair)

    keys = [(seed, epoch, row) for seed in range(2) for epoch in range(5) for row in range(5)]
    assert [digest(*key) for key in keys] == [digest(*key) for key in keys]
    expected = {RandomFlip: 4, RandomRotate90: 4}.get(
        type(transform), 1 if transform == CropAround((70, 20)) else 20
    )
    assert len({digest(*key) for key in keys}) >= expected


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_transforms_can_be_sent_to_workers(transform: Transform) -> None:
    assert pickle.loads(pickle.dumps(transform)) == transform


@settings(max_examples=150, deadline=None)
@given(
    st.floats(-np.pi, np.pi), st.floats(0.5, 2), st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 2**32)
)
def test_a_plane_is_interpolated_exactly(angle: float, zoom: float, dx: float, dy: float, seed: int) -> None:
    """A linear image is its own interpolation; source points as the docstring's formula has them.

    OpenCV before 5 places them to 1/32 of a pixel.
    """
    rows, columns = np.mgrid[:40, :50].astype(np.float32)
    image = 3 * columns - 2 * rows
    transform = fixed_affine(angle, zoom, dx, dy)
    changed, _ = transform(image, np.zeros((0, 40, 50), np.uint8), np.random.default_rng(seed))
    offset_x, offset_y = columns - 24.5 - dx, rows - 19.5 - dy
    x = (np.cos(angle) * offset_x + np.sin(angle) * offset_y) / zoom + 24.5
    y = (np.cos(angle) * offset_y - np.sin(angle) * offset_x) / zoom + 19.5
    inside = (x >= 0) & (x <= 49) & (y >= 0) & (y <= 39)
    np.testing.assert_allclose(changed[inside], (3 * x - 2 * y)[inside], atol=5 / 64 + 1e-3)
    far = (x < -1.1) | (x > 50.1) | (y < -1.1) | (y > 40.1)
    assert (changed[far] == image.min()).all()


def fixed_affine(angle: float, zoom: float, dx: float, dy: float) -> Callable[..., Arrays]:
    """`RandomAffine` with the numbers it draws given."""

    class Fixed(np.random.Generator):
        def __init__(self) -> None:
            super().__init__(np.random.PCG64(0))
            self._draws: list[Any] = [np.rad2deg(angle), zoom, np.array([dx, dy])]

        def random(self, *_: Any, **__: Any) -> Any:
            return 0.0

        def uniform(self, *_: Any, **__: Any) -> Any:
            return self._draws.pop(0)

    return lambda image, masks, _: RandomAffine()(image.copy(), masks.copy(), Fixed())


def test_affine_by_nothing_changes_nothing() -> None:
    image, masks = sample()
    changed, changed_masks = only(RandomAffine(rotation_deg=0), image, masks)
    np.testing.assert_array_equal(changed, image)
    np.testing.assert_array_equal(changed_masks, masks)


@pytest.mark.parametrize(("quarter", "shape"), [(1, (48, 48)), (2, (48, 48)), (3, (48, 48)), (2, (48, 31))])
def test_a_right_angle_is_exact(quarter: int, shape: tuple[int, int]) -> None:
    image, masks = sample(shape)
    changed, changed_masks = fixed_affine(-quarter * np.pi / 2, 1, 0, 0)(image, masks, None)
    np.testing.assert_array_equal(changed, np.rot90(image, quarter))
    np.testing.assert_array_equal(changed_masks, np.rot90(masks, quarter, axes=(1, 2)))


def test_a_shift_by_whole_pixels_moves_pixels() -> None:
    image, masks = sample()
    changed, changed_masks = fixed_affine(0, 1, 3, -2)(image, masks, None)
    np.testing.assert_array_equal(changed[:-2, 3:], image[2:, :-3])
    np.testing.assert_array_equal(changed_masks[:, :-2, 3:], masks[:, 2:, :-3])
    assert (changed[-2:] == image.min()).all()
    assert (changed[:, :3] == image.min()).all()
    assert not changed_masks[:, -2:].any()


def test_zoom_scales_the_area_and_keeps_the_place() -> None:
    shape = (128, 128)
    masks = disc(shape, 60, 66, 25)[np.newaxis].astype(np.uint8)
    _, changed = fixed_affine(0, 1.2, 0, 0)(np.zeros(shape), masks, None)
    assert changed.sum() == pytest.approx(masks.sum() * 1.44, rel=0.01)
    rows, columns = np.nonzero(changed[0])
    assert columns.mean() == pytest.approx(63.5 + 1.2 * (60 - 63.5), abs=0.1)
    assert rows.mean() == pytest.approx(63.5 + 1.2 * (66 - 63.5), abs=0.1)


def centre_of(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])


def test_masks_keep_their_area_and_place_on_average() -> None:
    shape, random = (128, 128), np.random.default_rng(0)
    ratios, offsets = [], []
    for seed in range(200):
        (x, y), (dx, dy) = random.uniform(55, 75, 2), random.uniform(-5, 5, 2)
        masks = disc(shape, x, y, random.uniform(8, 25))[np.newaxis].astype(np.uint8)
        angle, zoom = random.uniform(-np.pi, np.pi), random.uniform(0.8, 1.25)
        _, moved = fixed_affine(angle, zoom, dx, dy)(np.zeros(shape), masks, seed)
        from_x, from_y = centre_of(masks[0]) - 63.5
        to_x = zoom * (np.cos(angle) * from_x - np.sin(angle) * from_y) + 63.5 + dx
        to_y = zoom * (np.sin(angle) * from_x + np.cos(angle) * from_y) + 63.5 + dy
        ratios.append(moved.sum() / masks.sum() / zoom**2)
        offsets.append(centre_of(moved[0]) - (to_x, to_y))
    assert np.mean(ratios) == pytest.approx(1, abs=0.002)
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.02


@pytest.mark.parametrize("make", [RandomAffine, RandomGamma, RandomNoise])
def test_what_needs_opencv_says_so_when_it_is_made(
    make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(
        MissingExtraError, match=r"Random\w+ needs an optional package: .*dicom-etl\[augment\]"
    ):
        make()
    RandomFlip(), RandomRotate90(), CropAround((4, 4)), RandomPatches((4, 4))


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">u2", "<u4", "<f4", "<i8", "<f8"])
def test_mirrors_are_the_same_with_opencv_and_without(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 6, 5)).astype(dtype)
    masks = (values > 99).astype(np.uint8)
    flips = [RandomFlip(axes, probability=1) for axes in ("x", "y", "xy")]
    found = [only(flip, values, masks) for flip in flips]
    monkeypatch.setattr(spatial, "_opencv_or_none", lambda: None)
    for (image, changed), flip in zip(found, flips, strict=True):
        expected, expected_masks = only(flip, values, masks)
        assert image.dtype == values.dtype
        np.testing.assert_array_equal(image, expected)
        np.testing.assert_array_equal(changed, expected_masks)
    np.testing.assert_array_equal(found[-1][0], values[:, ::-1, ::-1])


@pytest.mark.parametrize("transform", [RandomFlip("xy", probability=1), RandomGamma()], ids=repr)
def test_what_is_no_plain_block_is_changed_all_the_same(transform: Transform) -> None:
    image, masks = sample(dtype="<f4")
    expected, expected_masks = only(transform, image.T, masks.transpose(0, 2, 1))
    read_only = image.T.view()
    read_only.flags.writeable = False
    for array in (image.copy().T, np.repeat(image, 2, axis=0)[::2].T, read_only):
        changed, changed_masks = transform(array, masks.copy().transpose(0, 2, 1), np.random.default_rng(0))
        np.testing.assert_array_equal(changed, expected)
        np.testing.assert_array_equal(changed_masks, expected_masks)
    np.testing.assert_array_equal(read_only.T, sample(dtype="<f4")[0])


@pytest.mark.parametrize("kind", [RandomFlip, RandomAffine, RandomGamma, RandomNoise])
@pytest.mark.parametrize("dtype", ["<i2", "<f4", "<f8"])
def test_a_batch_is_changed_as_its_samples_are(kind: Callable[..., BatchTransform], dtype: str) -> None:
    transform = kind(probability=0.6)
    image, masks = sample(dtype=dtype)
    images = np.stack([image, image + 7, image * 0, image[::-1], image * 3, image // 2])
    several = np.stack([masks] * len(images))
    keys = range(len(images))
    expected = [only(transform, one, masks, key) for one, key in zip(images, keys, strict=True)]
    transform.change(images, several, [np.random.default_rng(key) for key in keys])
    np.testing.assert_array_equal(images, [one for one, _ in expected])
    np.testing.assert_array_equal(several, [each for _, each in expected])


def test_noise_is_that_of_the_sample_whatever_opencv_drew_before() -> None:
    import cv2

    image, masks = sample()
    one, _ = only(RandomNoise(), image, masks)
    cv2.setRNGSeed(5)
    cv2.randn(np.empty((9, 9), np.float32), 0, 1)
    other, _ = only(RandomNoise(), image, masks)
    np.testing.assert_array_equal(one, other)
    with ThreadPoolExecutor(2) as pool:
        for again, _ in pool.map(lambda _: only(RandomNoise(), image, masks), range(20)):
            np.testing.assert_array_equal(one, again)


def test_a_soft_mask_keeps_to_its_own_values() -> None:
    image, masks = sample()
    masks[1] *= 117
    _, changed = only(RandomAffine(rotation_deg=40, scale=(0.7, 1.4)), image, masks)
    assert set(np.unique(changed)) == {0, 1, 117}


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_images_of_one_row_or_column_are_no_exception(shape: tuple[int, int]) -> None:
    image = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    changed, _ = only(RandomAffine(), image, np.zeros((1, *shape), np.uint8))
    assert changed.shape == shape


def test_images_that_are_not_square_are_turned_by_half() -> None:
    image, masks = sample((48, 40))
    shapes = {only(RandomRotate90(), image, masks, seed)[0].shape for seed in range(20)}
    assert shapes == {(48, 40)}


@settings(max_examples=100, deadline=None)
@given(st.integers(5, 42), st.integers(5, 42), st.integers(2, 5), st.integers(0, 2**32))
def test_a_crop_holds_the_structures_in_its_middle(x: int, y: int, radius: int, seed: int) -> None:
    image = np.zeros((48, 48), np.int16)
    masks = disc((48, 48), x, y, radius)[np.newaxis].astype(np.uint8)
    _, cropped = only(CropAround((20, 16)), image, masks, seed)
    assert cropped.shape == (1, 20, 16)
    assert cropped.sum() == masks.sum()
    rows, columns = np.nonzero(cropped[0])
    if 10 <= y < 38:
        assert abs(rows.mean() - 9.5) <= 0.5
    if 8 <= x < 40:
        assert abs(columns.mean() - 7.5) <= 0.5


def test_a_crop_of_an_empty_sample_is_the_middle_of_the_image() -> None:
    image = np.arange(100, dtype=np.int16).reshape(10, 10)
    cropped, _ = only(CropAround((4, 4)), image, np.zeros((1, 10, 10), np.uint8))
    np.testing.assert_array_equal(cropped, image[3:7, 3:7])


def test_a_crop_larger_than_the_image_is_filled() -> None:
    image = np.arange(5, 105, dtype=np.int16).reshape(10, 10)
    cropped, masks = only(CropAround((14, 6)), image, np.ones((1, 10, 10), np.uint8))
    np.testing.assert_array_equal(cropped[2:12], image[:, 2:8])
    assert (cropped[[0, 1, 12, 13]] == 5).all()
    assert masks.sum() == 60


def test_jitter_moves_the_window_by_whole_pixels() -> None:
    image = np.arange(48 * 48, dtype=np.int16).reshape(48, 48)
    masks = disc((48, 48), 24, 24, 4)[np.newaxis].astype(np.uint8)
    corners = {
        int(only(CropAround((16, 16), jitter_px=2), image, masks, seed)[0][0, 0]) for seed in range(300)
    }
    at = only(CropAround((16, 16)), image, masks)[0][0, 0]
    assert corners == {int(at) + 48 * dy + dx for dy in range(-2, 3) for dx in range(-2, 3)}


def test_patches_hold_the_share_of_foreground_asked_for() -> None:
    image = np.zeros((64, 64), np.int16)
    masks = np.zeros((1, 64, 64), np.uint8)
    masks[0, 30, 30] = 1
    for share in (0.0, 0.25, 1.0):
        held = [
            patch_masks.any()
            for seed in range(200)
            for _, patch_masks in apply_transforms(
                [RandomPatches((8, 8), count=4, foreground=share)], image, masks, np.random.default_rng(seed)
            )
        ]
        anywhere = 64 / 57**2
        expected = share + (1 - share) * anywhere
        assert np.mean(held) == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 800))


def test_patches_reach_every_corner() -> None:
    image = np.arange(36, dtype=np.int16).reshape(6, 6)
    masks = np.ones((1, 6, 6), np.uint8)
    for share in (0.0, 1.0):
        seen = {
            int(patch[0, 0])
            for seed in range(300)
            for patch, _ in apply_transforms(
                [RandomPatches((4, 4), foreground=share)], image, masks, np.random.default_rng(seed)
            )
        }
        assert seen == {6 * row + column for row in range(3) for column in range(3)}


def test_transforms_after_patches_see_each_patch() -> None:
    image, masks = sample()
    pairs = apply_transforms(
        [RandomPatches((12, 12), count=5), RandomFlip(), RandomPatches((6, 6), count=2), RandomNoise()],
        image,
        masks,
        np.random.default_rng(0),
    )
    assert len(pairs) == 10
    assert {pair[0].shape for pair in pairs} == {(6, 6)}


def test_gamma_keeps_order_and_range() -> None:
    image, masks = sample(dtype="<f8")
    for seed in range(20):
        changed, _ = only(RandomGamma((0.5, 2)), image, masks, seed)
        assert (changed.min(), changed.max()) == pytest.approx((image.min(), image.max()))
        order = np.argsort(image, axis=None, kind="stable")
        assert (np.diff(changed.ravel()[order]) >= -1e-9).all()
    flat = np.full((4, 4), 7.0)
    np.testing.assert_array_equal(only(RandomGamma(), flat, masks[:, :4, :4])[0], flat)


def test_noise_has_the_level_asked_for_and_whole_numbers_stay_in_range() -> None:
    image = np.zeros((200, 200), np.float32)
    image[0, 0] = 1000
    changed, _ = only(RandomNoise(0.05), image, np.zeros((1, 200, 200), np.uint8))
    assert (changed - image).std() == pytest.approx(50, rel=0.02)
    full = np.full((50, 50), 65535, np.uint16)
    full[0, 0] = 0
    assert only(RandomNoise(0.01), full, np.zeros((1, 50, 50), np.uint8))[0][1:].min() > 60_000


def test_a_probability_of_zero_leaves_the_sample_alone() -> None:
    image, masks = sample()
    for transform in (RandomFlip(probability=0), RandomAffine(probability=0), RandomGamma(probability=0)):
        np.testing.assert_array_equal(only(transform, image, masks)[0], image)
    np.testing.assert_array_equal(only(RandomNoise(probability=0), image, masks)[0], image)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomFlip(axes="z"),
        lambda: RandomFlip(axes=""),
        lambda: RandomFlip(probability=1.5),
        lambda: RandomAffine(rotation_deg=-1),
        lambda: RandomAffine(shift_px=-1),
        lambda: RandomAffine(shift_px=float("nan")),
        lambda: RandomAffine(scale=(0, 1)),
        lambda: RandomAffine(scale=(2, 1)),
        lambda: CropAround((0, 4)),
        lambda: CropAround((4, 4), jitter_px=-1),
        lambda: RandomPatches((4, 4), count=0),
        lambda: RandomPatches((4, 4), foreground=2),
        lambda: RandomPatches((4, -4)),
        lambda: RandomGamma(gamma=(0, 1)),
        lambda: RandomGamma(gamma=(2, 1)),
        lambda: RandomNoise(level=-0.1),
        lambda: RandomNoise(level=float("nan")),
    ],
)
def test_options_that_make_no_sense_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match="it must be"):
        make()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda image, masks, rng: (image[:5], masks),
        lambda image, masks, rng: (image, masks.astype(np.float32)),
        lambda image, masks, rng: (image, masks[0]),
        lambda image, masks, rng: (image[np.newaxis, np.newaxis], masks),
        lambda image, masks, rng: (image[:0], masks[:, :0]),
        lambda image, masks, rng: (image.ravel(), masks),
    ],
)
def test_a_transform_that_breaks_the_contract_is_named(wrong: Transform) -> None:
    with pytest.raises(ConfigError, match=r"<lambda>.* returned an image of shape"):
        only(wrong, *sample())
