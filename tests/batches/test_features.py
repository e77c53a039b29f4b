"""What a reader can serve besides plain rows, each held to a few lines of numpy."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_etl.batches import BatchReader, Context, Schedule
from dicom_etl.batches.structures import label_map
from dicom_etl.batches.transforms import CropAround, RandomAffine, RandomFlip, RandomPatches
from dicom_etl.errors import ConfigError
from tests.batches.datasets import Content, content, write_dataset

BOTH = ("icontour", "ocontour")


def everything(reader: BatchReader, name: str) -> NDArray[Any]:
    """Return an array of all batches, in the order of the rows."""
    batches = list(reader.epoch(0))
    rows = np.concatenate([batch.indices for batch in batches])
    values = np.concatenate([getattr(batch, name) for batch in batches])
    return values[np.argsort(rows.reshape(len(rows), -1)[:, 0])]


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Content, Path]:
    """Inner contours inside outer ones; every third row has no outer one, every fifth no inner one."""
    made = content()
    made.masks[:, 0] = 0
    made.masks[:, 1] = 0
    for row in range(40):
        made.masks[row, 1, 2:10, 1:9] = 1
        made.masks[row, 0, 4:8, 3 : 4 + row % 5] = 1
    made.has[::3, 1] = False
    made.has[::5, 0] = False
    made.masks[~made.has] = 0
    return made, write_dataset(tmp_path_factory.mktemp("nested") / "d.h5", made)


class TestLabels:
    def test_any_structure_is_enough_and_valid_says_which(self, nested: tuple[Content, Path]) -> None:
        made, path = nested
        reader = BatchReader(path, structures=BOTH, require="any")
        rows = np.flatnonzero(made.has.any(axis=1))
        assert reader.rows.tolist() == rows.tolist()
        np.testing.assert_array_equal(everything(reader, "valid"), made.has[rows])
        np.testing.assert_array_equal(everything(reader, "masks"), made.masks[rows])
        assert everything(BatchReader(path, structures=BOTH), "valid").all()

    def test_myocardium_is_outer_without_inner_where_both_are(self, nested: tuple[Content, Path]) -> None:
        made, path = nested
        both = made.has.all(axis=1)
        reader = BatchReader(path, structures=("myocardium",))
        assert reader.rows.tolist() == np.flatnonzero(both).tolist()
        expected = made.masks[:, 1] & ~made.masks[:, 0] & 1
        np.testing.assert_array_equal(everything(reader, "masks"), expected[both])
        several = BatchReader(path, structures=("ocontour", "myocardium"), require="any")
        there = made.has[several.rows]
        np.testing.assert_array_equal(
            everything(several, "masks")[:, 1],
            expected[several.rows] * np.asarray(there.all(axis=1))[:, None, None],
        )
        np.testing.assert_array_equal(
            everything(several, "valid"), np.stack([there[:, 1], there.all(axis=1)], 1)
        )

    @pytest.mark.parametrize("structures", [BOTH, BOTH[::-1], ("icontour", "myocardium")])
    def test_a_map_shows_the_inner_of_two(
        self, nested: tuple[Content, Path], structures: tuple[str, ...]
    ) -> None:
        made, path = nested
        reader = BatchReader(path, structures=structures, require="any", labels="map", layout="NCHW")
        found = everything(reader, "masks")
        assert found.shape[1:] == (1, 12, 10)
        inner, outer = made.masks[reader.rows].swapaxes(0, 1)
        if "myocardium" in structures:
            outer = outer * made.has[reader.rows, 0, None, None]
        first, second = structures.index("icontour") + 1, 2 - structures.index("icontour")
        np.testing.assert_array_equal(
            found[:, 0], np.where(inner == 1, first, np.where(outer == 1, second, 0))
        )

    @settings(max_examples=100)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 4))
    def test_a_map_is_that_of_a_loop_over_pixels(self, seed: int, count: int) -> None:
        masks = np.random.default_rng(seed).integers(0, 2, (3, count, 4, 5), dtype=np.uint8)
        found = label_map(masks)
        for sample, y, x in np.ndindex(3, 4, 5):
            here = [
                (masks[sample, index].sum(), index) for index in range(count) if masks[sample, index, y, x]
            ]
            assert found[sample, 0, y, x] == (min(here)[1] + 1 if here else 0)

    def test_coverage_is_served_from_0_to_1(self, tmp_path: Path) -> None:
        made = content(count=8)
        made.masks[:] = np.arange(8)[:, None, None, None] * 36
        made.mask_values = "coverage"
        path = write_dataset(tmp_path / "d.h5", made)
        batch = next(iter(BatchReader(path, shuffle=False, transforms=[RandomFlip()])))
        assert batch.masks.dtype == np.float32
        np.testing.assert_allclose(batch.masks[:, 0, 0], np.arange(8) * 36 / 255, rtol=1e-6)
        with pytest.raises(ConfigError, match="masks that are 0 or 1"):
            BatchReader(path, labels="map")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"require": "some"}, "require is 'some'"),
            ({"labels": "maps"}, "labels is 'maps'"),
            ({"labels": "map", "structures": ()}, "at least one structure"),
            ({"context": ("y", 3)}, "context is 'y'"),
            ({"context": ("z", 2)}, "count 2: it must be odd"),
            ({"context": ("copy", "all")}, "count 'all'"),
            ({"context": ("z", "all"), "weights": "image_mean"}, "weights are those of single rows"),
            ({"columns": ("site",)}, "columns: no column 'site'"),
            ({"sampling": "site"}, "sampling is 'site'"),
            ({"sampling": lambda table: table["fold"][:3]}, r"sampling gave shape \(3,\)"),
            ({"sampling": lambda table: table["fold"]}, "sampling weights must be"),
            ({"patients_per_batch": 9}, "patients_per_batch is 9: it must be from 1 to batch_size = 8"),
            ({"patients_per_batch": 7}, "7, and samples of 5 patients"),
            ({"cache": "disk"}, "cache is 'disk'"),
            ({"normalize": "zscore:lung"}, "no statistics of lung"),
            ({"normalize": "minmax:icontour"}, "knows no structures"),
            ({"shuffle": "some"}, "shuffle is 'some'"),
        ],
    )
    def test_what_cannot_be_served_is_named(self, plain: Path, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            BatchReader(plain, **options)


def stack(
    locations: int, phases: int, patients: int = 2, missing: tuple[tuple[int, int, int], ...] = ()
) -> Content:
    """Images of patients x locations x phases, but for some; the first pixel tells the row."""
    places = [
        place
        for place in itertools.product(range(patients), range(locations), range(phases))
        if place not in missing
    ]
    made = content(count=len(places), patients=patients)
    made.patients = [f"P{patient:02}" for patient, _, _ in places]
    made.places = [(location, phase) for _, location, phase in places]
    return made


class TestContext:
    @pytest.mark.parametrize("axis", ["z", "t"])
    @pytest.mark.parametrize("padding", ["edge", "zero"])
    @pytest.mark.parametrize("count", [3, 5])
    def test_neighbours_are_channels(self, tmp_path: Path, axis: Any, padding: Any, count: int) -> None:
        made = stack(4, 3, missing=((0, 1, 1), (1, 3, 0)))
        path = write_dataset(tmp_path / "d.h5", made)
        reader = BatchReader(path, patients=["P01"], context=Context(axis, count, padding), dtype="float32")
        keys = [(patient, *place) for patient, place in zip(made.patients, made.places, strict=True)]
        for batch in reader:
            assert batch.images.shape[1:] == (count, 12, 10)
            np.testing.assert_array_equal(batch.masks, made.masks[batch.indices, 0])
            for row, channels in zip(batch.indices.tolist(), batch.images, strict=True):
                patient, location, phase = keys[row]
                for channel, image in enumerate(channels):
                    offset = channel - count // 2
                    while True:
                        z, t = (offset, 0) if axis == "z" else (0, offset)
                        key = (patient, location + z, phase + t)
                        if key in keys or offset == 0 or padding == "zero":
                            break
                        offset -= int(np.sign(offset))
                    expected = made.images[keys.index(key)] if key in keys else 0
                    np.testing.assert_array_equal(image, np.broadcast_to(expected, (12, 10)))

    @pytest.mark.parametrize(
        ("layout", "shape"), [("NHW", (8, 3, 12, 10)), ("NCHW", (8, 3, 12, 10)), ("NHWC", (8, 12, 10, 3))]
    )
    def test_three_equal_channels(self, made: Content, plain: Path, layout: Any, shape: Any) -> None:
        batch = next(iter(BatchReader(plain, context=("copy", 3), layout=layout, normalize="minmax")))
        alone = next(iter(BatchReader(plain, normalize="minmax")))
        assert batch.images.shape == shape
        for channel in range(3):
            one = batch.images[..., channel] if layout == "NHWC" else batch.images[:, channel]
            np.testing.assert_array_equal(one, alone.images)

    @pytest.mark.parametrize("axis", ["z", "t"])
    def test_a_whole_stack_or_cine_is_one_sample(self, tmp_path: Path, axis: Any) -> None:
        made = stack(4, 3, missing=((0, 3, 1), (1, 0, 2)))
        path = write_dataset(tmp_path / "d.h5", made)
        reader = BatchReader(path, 2, BOTH, context=(axis, "all"), layout="NCHW", normalize="zscore")
        along, same = (0, 1) if axis == "z" else (1, 0)
        longest = 4 if axis == "z" else 3
        assert reader.rows.tolist() == list(range(made.count))
        served = []
        for batch in reader:
            assert batch.images.shape[1:] == (1, longest, 12, 10)
            assert batch.masks.shape[1:] == (2, longest, 12, 10)
            for place, rows in enumerate(batch.indices.tolist()):
                there = [row for row in rows if row >= 0]
                served += there
                assert len({(made.patients[row], made.places[row][same]) for row in there}) == 1
                order = [made.places[row][along] for row in there]
                assert order == sorted(order)
                for index, row in enumerate(rows):
                    assert batch.valid[place, index].all() == (row >= 0)
                    expected = made.masks[row] if row >= 0 else 0
                    np.testing.assert_array_equal(
                        batch.masks[place, :, index], np.broadcast_to(expected, (2, 12, 10))
                    )
                    assert batch.images[place, 0, index].any() == (row >= 0)
        assert sorted(served) == list(range(made.count))
        assert len(reader) == -(-(6 if axis == "z" else 8) // 2)

    def test_the_order_of_groups_can_be_resumed_and_transformed(self, tmp_path: Path) -> None:
        path = write_dataset(tmp_path / "d.h5", stack(4, 3))
        options: dict[str, Any] = {"context": ("t", "all"), "transforms": [CropAround((6, 6)), RandomFlip()]}

        def reader() -> BatchReader:
            return BatchReader(path, 3, BOTH, **options)

        whole = [batch.images.tobytes() for batch in reader()]
        first = reader()
        assert next(iter(first)).masks.shape == (3, 2, 3, 6, 6)
        again = reader()
        again.load_state_dict(first.state_dict())
        assert [batch.images.tobytes() for batch in again] == whole[1:]

    def test_an_image_without_a_place_has_no_neighbours(self, tmp_path: Path) -> None:
        made = stack(2, 2)
        made.places[3] = (-1, -1)
        path = write_dataset(tmp_path / "d.h5", made)
        images = everything(BatchReader(path, context=Context("z", 3, "zero")), "images")
        assert images[3, 1].any()
        assert not images[3, [0, 2]].any()
        assert len(next(iter(BatchReader(path, context=("z", "all"))))) == 5

    def test_transforms_move_all_channels_and_may_change_their_number(self, plain: Path) -> None:
        def doubled(image: Any, masks: Any, rng: Any) -> Any:
            return np.concatenate([image, image]), masks

        one: dict[str, Any] = {"dtype": "float32", "structures": BOTH}
        for transform in (
            RandomAffine(),
            RandomFlip(),
            CropAround((20, 6)),
            CropAround((6, 6), 2),
            RandomPatches((5, 4), 2),
        ):
            alone = next(iter(BatchReader(plain, transforms=[transform], **one)))
            batch = next(
                iter(BatchReader(plain, transforms=[transform, doubled], context=("copy", 3), **one))
            )
            assert batch.images.shape[1] == 6
            np.testing.assert_array_equal(batch.masks, alone.masks)
            np.testing.assert_array_equal(batch.images, np.repeat(alone.images[:, np.newaxis], 6, axis=1))

    def test_masks_that_are_scaled_are_refused(self, plain: Path) -> None:
        with pytest.raises(ConfigError, match="masks are moved, not scaled"):
            list(BatchReader(plain, transforms=[lambda image, masks, rng: (image, masks * 255)]))

    def test_an_error_in_a_transform_names_it_and_the_file(self, plain: Path) -> None:
        def fails(image: Any, masks: Any, rng: Any) -> Any:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine") as caught:
            next(iter(BatchReader(plain, shuffle=False, transforms=[fails])))
        notes = "\n".join(caught.value.__notes__)
        assert "in the transform <function" in notes
        assert "in epoch 0, on row 0, dicoms/P00/0.dcm" in notes

    def test_an_error_in_a_whole_batch_names_the_transform_the_rows_and_their_files(
        self, plain: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: Any) -> None:
            raise MemoryError("none left")

        monkeypatch.setattr(RandomFlip, "change", fails)
        with pytest.raises(MemoryError, match="none left") as caught:
            next(iter(BatchReader(plain, 2, shuffle=False, transforms=[RandomFlip()])))
        assert caught.value.__notes__ == [
            f"in the transform {RandomFlip()!r}, in epoch 0, on rows [0, 1]: dicoms/P00/0.dcm, dicoms/P00/1.dcm"
        ]


class TestColumns:
    def test_columns_come_with_each_batch(self, made: Content, plain: Path) -> None:
        reader = BatchReader(
            plain, columns=("patient_id", "cardiac_phase", "pixel_spacing_mm", "phase_index")
        )
        for batch in reader:
            assert batch.columns is not None
            assert batch.columns["patient_id"].tolist() == [made.patients[row] for row in batch.indices]
            assert batch.columns["cardiac_phase"].tolist() == [("ED", "ES")[row % 2] for row in batch.indices]
            assert batch.columns["phase_index"].tolist() == (batch.indices % 2).tolist()
            assert batch.columns["pixel_spacing_mm"].shape == (8, 2)

    def test_the_table_is_that_of_the_samples_served(self, made: Content, plain: Path) -> None:
        reader = BatchReader(plain, patients=["P01", "P03"])
        table = reader.table
        assert table["row"].tolist() == reader.rows.tolist()
        assert table["patient_id"].tolist() == [made.patients[row] for row in reader.rows]
        assert table["source_image"][0] == "dicoms/P01/8.dcm"
        assert {len(values) for values in table.values()} == {16}
        pandas = pytest.importorskip("pandas")
        assert pandas.DataFrame(table).shape == (16, len(table))

    def test_affines_take_pixels_to_the_patient(self, plain: Path) -> None:
        reader = BatchReader(plain)
        point = reader.affines(reader.rows[:3]) @ [4, 2, 0, 1]
        np.testing.assert_allclose(point, [[5, 2.5, 0, 1]] * 3)


class TestSampling:
    @settings(max_examples=100)
    @given(
        st.lists(st.floats(0, 10), min_size=1, max_size=60).filter(any),
        st.integers(0, 9),
        st.integers(0, 9),
    )
    def test_every_sample_comes_as_often_as_its_share(
        self, shares: list[float], seed: int, epoch: int
    ) -> None:
        weights = np.array(shares)
        order = Schedule(len(shares), 1, seed=seed, weights=weights).epoch(epoch).order
        expected = weights / weights.sum() * len(shares)
        times = np.bincount(order, minlength=len(shares))
        assert len(order) == len(shares)
        assert (times >= np.floor(expected - 1e-6)).all()
        assert (times <= np.ceil(expected + 1e-6)).all()

    def test_values_of_a_column_come_alike(self, tmp_path: Path) -> None:
        made = content()
        made.patients = ["A"] * 30 + ["B"] * 6 + ["C"] * 4
        path = write_dataset(tmp_path / "d.h5", made)
        for options in ({"sampling": "patient_id"}, {"sampling": balanced}):
            reader = BatchReader(path, columns=("patient_id",), **options)
            times: Counter[str] = Counter()
            for batch in itertools.chain(*[reader.epoch(epoch) for epoch in range(30)]):
                assert batch.columns is not None
                times.update(batch.columns["patient_id"].tolist())
            assert times.total() == 30 * 40
            assert max(times.values()) - min(times.values()) < 0.1 * 400

    def test_floats_are_weights_and_the_order_is_pure(self, made: Content, plain: Path) -> None:
        def reader(**options: Any) -> BatchReader:
            return BatchReader(plain, 3, sampling="image_std", **options)

        times = Counter(
            row for epoch in range(200) for b in reader().epoch(epoch) for row in b.indices.tolist()
        )
        spread = made.images.std(axis=(1, 2))
        np.testing.assert_allclose(
            [times[row] for row in range(40)], 200 * 40 * spread / spread.sum(), rtol=0.1
        )
        whole = [batch.indices.tolist() for batch in reader().epoch(4)]
        ranks = [[b.indices.tolist() for b in reader(rank=r, world_size=2).epoch(4)] for r in range(2)]
        assert ranks == [whole[0::2], whole[1::2]]
        first = reader()
        list(itertools.islice(first.epoch(4), 5))
        again = pickle.loads(pickle.dumps(reader()))
        again.load_state_dict(first.state_dict())
        assert [batch.indices.tolist() for batch in again] == whole[5:]
        with pytest.raises(ConfigError, match="another order"):
            BatchReader(plain, 3).load_state_dict(first.state_dict())

    @settings(max_examples=100)
    @given(
        st.lists(st.integers(0, 7), min_size=8, max_size=80), st.integers(1, 6), st.integers(1, 9), st.data()
    )
    def test_batches_are_of_many_patients(
        self, patients: list[int], lanes: int, batch_size: int, data: st.DataObject
    ) -> None:
        known = len(set(patients))
        lanes = min(lanes, batch_size, known)
        schedule = Schedule(
            len(patients),
            batch_size,
            shuffle=data.draw(st.sampled_from(["full", "block", False])),
            patients=np.array(patients),
            patients_per_batch=lanes,
        )
        plan = schedule.epoch(data.draw(st.integers(0, 99)))
        assert sorted(plan.order.tolist()) == list(range(len(patients)))
        lanes_left = True
        for number in range(schedule.cut):
            positions, _ = plan.batch(number)
            distinct = len({patients[position] for position in positions})
            if distinct < min(lanes, len(positions)):
                lanes_left = False
            assert lanes_left or distinct <= lanes
        first, _ = plan.batch(0)
        if min(Counter(patients).values()) * lanes >= batch_size:
            assert len({patients[position] for position in first}) >= min(lanes, batch_size)

    def test_shuffle_may_be_spelled_as_people_do(self, plain: Path) -> None:
        def rows(**options: Any) -> list[int]:
            return [row for batch in BatchReader(plain, **options) for row in batch.indices.tolist()]

        assert rows(shuffle=True) == rows()
        assert rows(shuffle="none") == rows(shuffle=False) == list(range(40))


def balanced(table: Any) -> Any:
    """Give patients equal shares, in a function that can be pickled."""
    _, which, counts = np.unique(table["patient_id"], return_inverse=True, return_counts=True)
    return 1 / counts[which]


class TestSeveralDatasets:
    @pytest.fixture
    def two(self, tmp_path: Path) -> tuple[list[Content], list[Path]]:
        both = [content(seed=0), content(count=24, dtype="<u2", seed=1, patients=3)]
        both[1].patients = [f"Q{patient[1:]}" for patient in both[1].patients]
        paths = [
            write_dataset(tmp_path / f"{i}.h5", made, compression=("none", "gzip")[i])
            for i, made in enumerate(both)
        ]
        return both, paths

    @pytest.mark.parametrize("options", [{}, {"cache": "memory"}, {"normalize": "minmax"}])
    def test_rows_of_all_are_served_as_one(
        self, two: tuple[list[Content], list[Path]], options: dict[str, Any]
    ) -> None:
        both, paths = two
        reader = BatchReader(paths, structures=BOTH, columns=("dataset", "patient_id"), **options)
        images = np.concatenate([made.images.astype(np.int32) for made in both])
        masks = np.concatenate([made.masks for made in both])
        if "normalize" in options:
            low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
            images = (images - low) / (high - low)
        for _ in range(2):
            np.testing.assert_allclose(everything(reader, "images"), images, atol=1e-6)
            np.testing.assert_array_equal(everything(reader, "masks"), masks)
        assert reader.table["dataset"].tolist() == [0] * 40 + [1] * 24
        assert reader.table["patient_id"].tolist() == both[0].patients + both[1].patients
        first = pickle.loads(pickle.dumps(reader))
        next(iter(first))
        reader.load_state_dict(first.state_dict())
        assert len(list(reader)) == 7

    def test_a_patient_of_two_is_one(self, tmp_path: Path) -> None:
        paths = [write_dataset(tmp_path / f"{i}.h5", content(seed=i)) for i in range(2)]
        sides = [
            {
                p
                for b in BatchReader(
                    paths, split=side, fractions=(0.5, 0.5), columns="patient_id", imputed=True
                )
                for p in b.columns["patient_id"]  # type: ignore[index]
            }
            for side in ("train", "val")
        ]
        assert not sides[0] & sides[1]
        assert len(sides[0] | sides[1]) == 5

    def test_datasets_that_do_not_go_together(self, tmp_path: Path, plain: Path) -> None:
        other = write_dataset(tmp_path / "other.h5", content(shape=(8, 10)))
        with pytest.raises(ConfigError, match="different sizes"):
            BatchReader([plain, other])
        single = write_dataset(tmp_path / "single.h5", content(structures=("ocontour",)))
        with pytest.raises(ConfigError, match="no icontour; it has ocontour"):
            BatchReader([plain, single])
        with pytest.raises(ConfigError, match="at least one dataset"):
            BatchReader([])


class TestNormalization:
    @pytest.fixture
    def both(self, tmp_path: Path) -> tuple[list[Content], list[Path]]:
        made = [content(seed=seed, count=16 + 8 * seed, shape=(16, 16)) for seed in range(2)]
        return made, [write_dataset(tmp_path / f"{i}.h5", one) for i, one in enumerate(made)]

    def test_all_images_by_the_numbers_of_the_dataset(self, both: tuple[list[Content], list[Path]]) -> None:
        """For percentiles of whole images every fourth pixel along each axis counts."""
        made, paths = both
        pixels = [one.images.astype(float) for one in made]
        inside = [one.images[one.masks[:, 0] == 1].astype(float) for one in made]
        stored = np.concatenate([one.images for one in made])
        for name, of_each in (("dataset", pixels), ("icontour", inside)):
            together = np.concatenate([values.ravel() for values in of_each])
            found = everything(BatchReader(paths, normalize=f"zscore:{name}"), "images")
            np.testing.assert_allclose(found, (stored - together.mean()) / together.std(), atol=1e-4)
            found = everything(BatchReader(paths[0], normalize=f"percentile:{name}"), "images")
            some = made[0].images[:, ::4, ::4] if name == "dataset" else of_each[0]
            low, high = np.percentile(some, (1, 99))
            expected = np.clip((made[0].images - low) / (high - low), 0, 1)
            np.testing.assert_allclose(found, expected, atol=0.02)
        found = everything(BatchReader(paths, normalize="minmax:dataset"), "images")
        np.testing.assert_allclose(found, (stored - stored.min()) / np.ptp(stored.astype(float)), atol=1e-5)

    def test_percentiles_of_two_are_not_guessed(self, both: tuple[list[Content], list[Path]]) -> None:
        with pytest.raises(ConfigError, match="cannot be put together: use zscore"):
            BatchReader(both[1], normalize="percentile:dataset")


class TestRest:
    def test_what_is_kept_in_memory_is_decoded_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = content()
        path = write_dataset(tmp_path / "d.h5", made, compression="gzip")
        reader = BatchReader(path, structures=BOTH, cache="memory", threads=2)
        first = [everything(reader, name) for name in ("images", "masks")]
        monkeypatch.setattr("dicom_etl.dataset.codecs.inflate", None)
        np.testing.assert_array_equal(everything(reader, "images"), made.images)
        np.testing.assert_array_equal(everything(reader, "masks"), made.masks)
        np.testing.assert_array_equal(first[0], made.images)
        assert len(pickle.dumps(reader)) < 50_000

    def test_three_sides_at_once(self, tmp_path: Path) -> None:
        made = content()
        made.splits = ["train"] * 24 + ["val"] * 16
        path = write_dataset(tmp_path / "d.h5", made)
        sides = BatchReader.splits(path, 5, transforms=[RandomFlip()], remainder="drop", normalize="zscore")
        assert sides.test is None
        assert sides.val is not None
        assert (len(sides.train.rows), len(sides.train)) == (24, 4)
        assert [row for batch in sides.val for row in batch.indices.tolist()] == list(range(24, 40))
        with pytest.raises(ConfigError, match="no splits"):
            BatchReader.splits(write_dataset(tmp_path / "e.h5", content()))
