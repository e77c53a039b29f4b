"""What a training loop sees."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from dicom_etl.batches import Batch, BatchReader
from dicom_etl.batches.transforms import (
    CropAround,
    RandomAffine,
    RandomFlip,
    RandomNoise,
    RandomPatches,
    Transform,
)
from dicom_etl.errors import ConfigError, DatasetError
from dicom_etl.records import Issue
from tests.batches.datasets import Content, content, write_dataset

BOTH = ("icontour", "ocontour")


def helpers() -> int:
    """Return how many threads make batches ahead."""
    return sum(thread.name.startswith("dicom-etl-ahead") for thread in threading.enumerate())


def rows(batches: Any) -> list[int]:
    return [row for batch in batches for row in batch.indices.tolist()]


def picture(batches: Any) -> list[tuple[bytes, bytes, tuple[int, ...], int, int]]:
    return [
        (
            batch.images.tobytes(),
            batch.masks.tobytes(),
            tuple(batch.indices.tolist()),
            batch.epoch,
            batch.step,
        )
        for batch in batches
    ]


class TestServing:
    def test_every_sample_is_served_once_with_its_own_masks(self, made: Content, plain: Path) -> None:
        for batch in BatchReader(plain, structures=BOTH):
            np.testing.assert_array_equal(batch.images, made.images[batch.indices])
            np.testing.assert_array_equal(batch.masks, made.masks[batch.indices])
            assert not batch.padding.any()
            assert batch.weights is None
            assert len(batch) == 8
        reader = BatchReader(plain)
        assert len(reader) == 5
        for epoch in range(3):
            assert sorted(rows(reader.epoch(epoch))) == list(range(40))
        assert rows(reader.epoch(0)) != rows(reader.epoch(1))

    def test_iteration_takes_the_epochs_in_turn(self, plain: Path) -> None:
        reader = BatchReader(plain)
        in_turn = [rows(reader) for _ in range(3)]
        assert in_turn == [rows(BatchReader(plain).epoch(epoch)) for epoch in range(3)]
        rows(reader.epoch(7))
        assert rows(reader) == rows(BatchReader(plain).epoch(8))

    def test_an_epoch_left_early_is_over(self, plain: Path) -> None:
        reader = BatchReader(plain)
        next(iter(reader))
        assert rows(reader) == rows(BatchReader(plain).epoch(1))

    @pytest.mark.parametrize(
        ("layout", "count", "images", "masks"),
        [
            ("NHW", 1, (8, 12, 10), (8, 12, 10)),
            ("NHW", 2, (8, 12, 10), (8, 2, 12, 10)),
            ("NHW", 0, (8, 12, 10), (8, 0, 12, 10)),
            ("HWN", 1, (12, 10, 8), (12, 10, 8)),
            ("HWN", 2, (12, 10, 8), (2, 12, 10, 8)),
            ("NCHW", 1, (8, 1, 12, 10), (8, 1, 12, 10)),
            ("NCHW", 2, (8, 1, 12, 10), (8, 2, 12, 10)),
            ("NHWC", 1, (8, 12, 10, 1), (8, 12, 10, 1)),
            ("NHWC", 2, (8, 12, 10, 1), (8, 12, 10, 2)),
        ],
    )
    def test_layouts(
        self,
        made: Content,
        plain: Path,
        layout: Any,
        count: int,
        images: tuple[int, ...],
        masks: tuple[int, ...],
    ) -> None:
        batch = next(iter(BatchReader(plain, structures=BOTH[:count], layout=layout)))
        assert batch.images.shape == images
        assert batch.masks.shape == masks
        sample, y, x = (layout.index(axis) for axis in "NHW")
        place = [0, 0, 0, 0][: len(images)]
        place[sample], place[y], place[x] = 3, 5, 7
        assert batch.images[tuple(place)] == made.images[batch.indices[3], 5, 7]
        if count == 2:
            where = {"NHW": (3, 1, 5, 7), "HWN": (1, 5, 7, 3), "NCHW": (3, 1, 5, 7), "NHWC": (3, 5, 7, 1)}[
                layout
            ]
            assert batch.masks[where] == made.masks[batch.indices[3], 1, 5, 7]

    def test_dtypes(self, made: Content, plain: Path) -> None:
        assert next(iter(BatchReader(plain))).images.dtype == np.int16
        for dtype in (np.float32, "float64", "float16", "int32"):
            batch = next(iter(BatchReader(plain, dtype=dtype)))
            assert batch.images.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(batch.images, made.images[batch.indices])

    def test_normalization_is_per_image(self, made: Content, plain: Path) -> None:
        stored = made.images.astype(np.float64)
        low, high = stored.min((1, 2), keepdims=True), stored.max((1, 2), keepdims=True)
        near, far = np.percentile(stored, (1, 99), axis=(1, 2), keepdims=True)
        expected = {
            "minmax": (stored - low) / (high - low),
            "zscore": (stored - stored.mean((1, 2), keepdims=True)) / stored.std((1, 2), keepdims=True),
            "percentile": np.clip((stored - near) / (far - near), 0, 1),
        }
        for kind, values in expected.items():
            reader = BatchReader(plain, normalize=kind)
            for batch in [*reader, *reader]:
                assert batch.images.dtype == np.float32
                np.testing.assert_allclose(batch.images, values[batch.indices], atol=2e-6)

    @pytest.mark.parametrize("kind", ["minmax", "zscore", "percentile"])
    def test_a_constant_image_becomes_zero(self, tmp_path: Path, kind: Any) -> None:
        flat = content(count=8)
        flat.images[:] = 77
        batch = next(iter(BatchReader(write_dataset(tmp_path / "d.h5", flat), normalize=kind)))
        assert not batch.images.any()

    def test_fill_completes_the_last_batch_and_says_so_once(self, made: Content, plain: Path) -> None:
        with pytest.warns(UserWarning, match="filled with 2 ") as caught:
            batches = list(
                itertools.chain.from_iterable(
                    itertools.repeat(BatchReader(plain, batch_size=7, remainder="fill"), 2)
                )
            )
        assert len(caught) == 1
        for epoch in (batches[:6], batches[6:]):
            assert all(len(set(batch.indices.tolist())) == 7 for batch in epoch)
            real = [row for batch in epoch for row in batch.indices[~batch.padding].tolist()]
            assert sorted(real) == list(range(40))
            last = epoch[-1]
            assert last.padding.tolist() == [False] * 5 + [True] * 2
            np.testing.assert_array_equal(last.images, made.images[last.indices])

    def test_drop_and_keep(self, plain: Path) -> None:
        assert [len(batch) for batch in BatchReader(plain, batch_size=7)] == [7, 7, 7, 7, 7, 5]
        assert [len(batch) for batch in BatchReader(plain, batch_size=7, remainder="drop")] == [7] * 5

    def test_weights_are_a_column(self, made: Content, plain: Path) -> None:
        batch = next(iter(BatchReader(plain, weights="image_mean")))
        assert batch.weights is not None
        assert batch.weights.dtype == np.float32
        np.testing.assert_allclose(batch.weights, made.images[batch.indices].mean((1, 2)), rtol=1e-6)

    def test_ranks_share_the_batches_of_one(self, plain: Path) -> None:
        alone = picture(BatchReader(plain, batch_size=3).epoch(2))
        ranks = [
            picture(BatchReader(plain, batch_size=3, rank=rank, world_size=3).epoch(2)) for rank in range(3)
        ]
        assert [part[:3] for part in alone] == [
            ranks[number % 3][number // 3][:3] for number in range(len(alone))
        ]

    @pytest.mark.parametrize("options", [{"prefetch": 3}, {"threads": 2}, {"prefetch": 1, "threads": 3}])
    def test_speed_options_change_nothing_that_is_served(self, plain: Path, options: dict[str, Any]) -> None:
        arguments: dict[str, Any] = {"structures": BOTH, "batch_size": 7, "normalize": "zscore"}
        assert picture(BatchReader(plain, **arguments, **options)) == picture(BatchReader(plain, **arguments))

    @pytest.mark.parametrize("options", [{}, {"prefetch": 2}])
    def test_batches_own_their_arrays(self, made: Content, plain: Path, options: dict[str, Any]) -> None:
        for batch in list(BatchReader(plain, **options)):
            np.testing.assert_array_equal(batch.images, made.images[batch.indices])

    def test_a_closed_reader_opens_again(self, plain: Path) -> None:
        with BatchReader(plain) as reader:
            first = rows(reader.epoch(0))
        assert rows(reader.epoch(0)) == first

    def test_errors_of_a_prefetch_thread_come_out(self, plain: Path) -> None:
        def fails(image: Any, masks: Any, rng: Any) -> Any:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            list(BatchReader(plain, prefetch=2, transforms=[fails]))

    def test_an_epoch_left_early_ends_its_thread(self, plain: Path) -> None:
        batches = iter(BatchReader(plain, prefetch=2, batch_size=2))
        next(batches)
        assert helpers() > 0
        del batches
        assert helpers() == 0

    @pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
    @pytest.mark.parametrize("options", [{"prefetch": 2}, {"threads": 2}])
    def test_an_epoch_goes_on_in_a_forked_process(self, plain: Path, options: dict[str, Any]) -> None:
        expected = picture(BatchReader(plain, batch_size=2).epoch(0))[1:]
        batches = BatchReader(plain, batch_size=2, **options).epoch(0)
        next(batches)
        child = os.fork()
        if child == 0:
            os._exit(0 if picture(batches) == expected else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert picture(batches) == expected

    def test_transforms_run_in_the_thread_that_asks_unless_told_otherwise(
        self, plain: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def threads_seen(**options: Any) -> set[int]:
            seen: set[int] = set()

            def note(image: Any, masks: Any, rng: Any) -> Any:
                seen.add(threading.get_ident())
                time.sleep(0.0005)
                return image, masks

            list(BatchReader(plain, transforms=[note], batch_size=2, **options))
            return seen

        monkeypatch.setattr("dicom_etl.batches.stream.usable_cores", lambda: 16)
        me = threading.get_ident()
        assert threads_seen() == {me}
        assert me not in threads_seen(prefetch=2)
        assert len(threads_seen(prefetch=2)) == 1
        assert len(threads_seen(threads=3)) > 1

    @pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (64, 4)])
    def test_threads_are_as_many_as_cores_but_not_in_workers(
        self, plain: Path, cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dicom_etl.batches.stream.usable_cores", lambda: cores)
        batches = iter(BatchReader(plain, batch_size=1))
        next(batches)
        assert helpers() <= threads - 1
        assert (helpers() > 0) == (threads > 1)
        monkeypatch.setattr(multiprocessing, "parent_process", object)
        batches = iter(BatchReader(plain, batch_size=1))
        next(batches)
        assert helpers() == 0


class TestSelection:
    @pytest.fixture
    def mixed(self, tmp_path: Path) -> tuple[Content, Path]:
        """40 samples, some without a structure, some imputed, some flagged, in splits and folds."""
        made = content()
        made.has[::3, 1] = False
        made.has[39] = False
        made.origins[5] = "imputed"
        made.origins[39] = "unlabeled"
        made.splits = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
        made.folds = [row // 8 for row in range(32)] + [-1] * 8
        made.issues = [
            Issue("warning", "area-jump", "m", "labels", "", made.patients[4], "ocontour", 4),
            Issue("error", "duplicate-image", "m", "dataset", "", made.patients[9], "", 9),
            Issue("error", "orphan-contour", "m", "link", "contourfiles/6-icontour.txt"),
        ]
        return made, write_dataset(tmp_path / "mixed.h5", made)

    @pytest.mark.parametrize(
        ("options", "fits"),
        [
            ({}, lambda row: row not in (5, 39)),
            ({"structures": BOTH}, lambda row: row not in (5, 39) and row % 3),
            ({"structures": "ocontour"}, lambda row: row not in (5, 39) and row % 3),
            ({"structures": ()}, lambda row: row != 5),
            ({"imputed": True}, lambda row: row != 39),
            ({"split": "train"}, lambda row: row < 24 and row != 5),
            ({"split": "test"}, lambda row: 32 <= row < 39),
            ({"fold": 1}, lambda row: 8 <= row < 16),
            ({"fold": 1, "split": "val"}, lambda row: 8 <= row < 16),
            ({"fold": 1, "split": "train"}, lambda row: (row < 8 or 16 <= row < 32) and row != 5),
            ({"fold": 1, "split": "test"}, lambda row: 32 <= row < 39),
            ({"patients": ["P01", "P03"]}, lambda row: row // 8 in (1, 3)),
            ({"patients": "P01"}, lambda row: row // 8 == 1),
            ({"where": {"cardiac_phase": "ED"}}, lambda row: row % 2 == 0),
            ({"where": {"location_index": [3, 4], "phase_index": 0}}, lambda row: row in (6, 8)),
            ({"where": lambda table: table["slice_location_mm"] > 100}, lambda row: 25 < row < 39),
            ({"exclude_flagged": True}, lambda row: row not in (5, 9, 39)),
            (
                {"exclude_flagged": True, "structures": BOTH},
                lambda row: row not in (4, 5, 9, 39) and row % 3,
            ),
        ],
    )
    def test_rows_served(
        self, mixed: tuple[Content, Path], options: dict[str, Any], fits: Callable[[int], bool]
    ) -> None:
        reader = BatchReader(mixed[1], **options)
        assert sorted(rows(reader)) == [row for row in range(40) if fits(row)]

    def test_fractions_give_what_the_splits_of_the_same_seed_are(self, made: Content, plain: Path) -> None:
        sides = {
            name: set(rows(BatchReader(plain, split=name, fractions=(0.6, 0.2, 0.2), split_seed=4)))
            for name in ("train", "val", "test")
        }
        assert sorted(row for side in sides.values() for row in side) == list(range(40))
        from dicom_etl.splits import assign_splits

        expected = assign_splits(made.patients, [()] * 40, (0.6, 0.2, 0.2), 4)
        assert sides == {name: {row for row in range(40) if expected[row] == name} for name in sides}

    def test_fractions_keep_shared_contours_and_images_together(self, tmp_path: Path) -> None:
        made = content(patients=10)
        ring = made.outline(0, 0)[0]
        made.rings[12, 0] = np.roll(ring[::-1], 2, axis=0)  # patients 0 and 3, drawn the other way round
        made.images[20] = made.images[38]  # patients 5 and 9
        path = write_dataset(tmp_path / "d.h5", made)
        together = 0
        for seed in range(8):
            sides = {
                made.patients[row]: name
                for name in ("train", "val", "test")
                for row in rows(BatchReader(path, split=name, fractions=(0.4, 0.3, 0.3), split_seed=seed))
            }
            assert sides["P00"] == sides["P03"]
            assert sides["P05"] == sides["P09"]
            together += sides["P01"] == sides["P02"]
        assert together < 8

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"structures": ("icontour", "p1contour")}, "no p1contour; it has icontour, ocontour"),
            ({"split": "training"}, "split is 'training'"),
            ({"fold": 9}, "no fold 9"),
            ({"fold": -1}, "no fold -1"),
            ({"patients": ["P01", "X"]}, "no patient 'X'; it has 5 others"),
            ({"where": {"cardiac": "ED"}}, "where: no column 'cardiac'; there are patient_id"),
            ({"where": lambda table: table["nothing"]}, "where: no column 'nothing'"),
            ({"where": lambda table: table["fold"]}, "where gave int16 of shape"),
            ({"where": lambda table: np.ones(3, bool)}, "where gave bool of shape"),
            (
                {"where": {"cardiac_phase": "XX"}},
                "no sample is left to serve: 40 samples, then 39 with icontour",
            ),
            ({"split": "val", "fractions": (0.5, 0.6)}, "add up to 1"),
            ({"fractions": (0.5, 0.5)}, "fractions are of use with split"),
            ({"layout": "CHW"}, "layout is 'CHW'"),
            ({"normalize": "l2"}, "normalize is 'l2'"),
            ({"normalize": "minmax", "dtype": "float16"}, "with normalize it must be float32"),
            ({"dtype": "uint8"}, "cannot hold every value of the stored int16"),
            ({"weights": "patient_id"}, "weights is 'patient_id'"),
            ({"weights": "orientation"}, "weights is 'orientation'"),
            ({"weights": "mine"}, "weights is 'mine'"),
            ({"prefetch": -1}, "prefetch is -1"),
            ({"threads": 0}, "threads is 0"),
            ({"batch_size": 0}, "batch_size is 0"),
        ],
    )
    def test_what_cannot_be_served_is_named(
        self, mixed: tuple[Content, Path], options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            BatchReader(mixed[1], **options)

    def test_a_split_that_ingest_did_not_make(self, plain: Path) -> None:
        with pytest.raises(ConfigError, match=r"no splits.*fractions=.*ingest --split"):
            BatchReader(plain, split="val")

    def test_a_file_that_is_no_dataset(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError):
            BatchReader(tmp_path / "none.h5")
        (tmp_path / "text.h5").write_text("text")
        with pytest.raises(DatasetError):
            BatchReader(tmp_path / "text.h5")


class TestResuming:
    OPTIONS: ClassVar[dict[str, Any]] = {"batch_size": 3, "transforms": (RandomFlip(), RandomNoise())}

    def whole(self, path: Path, epochs: int = 3) -> list[Any]:
        reader = BatchReader(path, **self.OPTIONS)
        return [part for _ in range(epochs) for part in picture(reader)]

    @pytest.mark.parametrize("prefetch", [0, 2])
    def test_a_run_goes_on_at_every_step_and_again_after_that(self, plain: Path, prefetch: int) -> None:
        expected = self.whole(plain)
        fresh = pickle.dumps(BatchReader(plain, prefetch=prefetch, **self.OPTIONS))
        reader = pickle.loads(fresh)
        states = [reader.state_dict()]
        for _ in range(3):
            states.extend(json.loads(json.dumps(reader.state_dict())) for _ in reader)
        assert len(states) == len(expected) + 1
        for done, state in enumerate(states):
            resumed = pickle.loads(fresh)
            resumed.load_state_dict(state)
            assert resumed.state_dict() == state
            found = picture(itertools.islice(resumed, 2))
            twice = pickle.loads(fresh)
            twice.load_state_dict(resumed.state_dict())
            while done + len(found) < len(expected):
                found += picture(twice)
            assert found[: len(expected) - done] == expected[done:]

    def test_the_loop_that_counts_epochs_itself_goes_on_as_well(self, plain: Path) -> None:
        expected = self.whole(plain)
        reader = BatchReader(plain, **self.OPTIONS)
        taken = []
        for batch in reader.epoch(0):
            taken.append(batch)
            if len(taken) == 5:
                break
        state = reader.state_dict()
        again = BatchReader(plain, **self.OPTIONS)
        again.load_state_dict(state)
        for epoch in range(state["epoch"], 3):
            taken += list(again.epoch(epoch))
        assert picture(taken) == expected
        assert rows(again.epoch(0)) == rows(BatchReader(plain, **self.OPTIONS).epoch(0))

    def test_ranks_go_on_with_another_number_of_ranks(self, plain: Path) -> None:
        expected = [part[2] for part in self.whole(plain, 1)]
        first = [BatchReader(plain, **self.OPTIONS, rank=rank, world_size=2) for rank in range(2)]
        taken = []
        iterators = [iter(reader) for reader in first]
        for _ in range(3):
            taken += [tuple(next(batches).indices.tolist()) for batches in iterators]
        states = [reader.state_dict() for reader in first]
        assert states[0] == states[1]
        for rank in range(3):
            reader = BatchReader(plain, **self.OPTIONS, rank=rank, world_size=3)
            reader.load_state_dict(states[0])
            taken += [tuple(batch.indices.tolist()) for batch in reader]
        assert sorted(taken) == sorted(expected)

    def test_the_state_is_a_few_numbers(self, plain: Path) -> None:
        reader = BatchReader(plain, seed=9)
        list(reader)
        state = reader.state_dict()
        assert {name: state[name] for name in ("seed", "epoch", "step")} == {"seed": 9, "epoch": 1, "step": 0}
        assert len(json.dumps(state)) < 100

    def test_the_seed_of_the_state_is_taken_over(self, plain: Path) -> None:
        reader = BatchReader(plain, seed=9)
        reader.load_state_dict(BatchReader(plain, seed=4).state_dict())
        assert rows(reader) == rows(BatchReader(plain, seed=4))

    @pytest.mark.parametrize(
        "options", [{"batch_size": 4}, {"shuffle": "block"}, {"remainder": "drop"}, {"patients": ["P00"]}]
    )
    def test_a_state_of_another_order_is_refused(self, plain: Path, options: dict[str, Any]) -> None:
        state = BatchReader(plain).state_dict()
        with pytest.raises(ConfigError, match="another order"):
            BatchReader(plain, **options).load_state_dict(state)

    @pytest.mark.parametrize(
        "change", [{"step": 6}, {"step": -1}, {"epoch": -1}, {"seed": -1}, {"epoch": "x"}, {"order": None}]
    )
    def test_a_state_that_makes_no_sense_is_refused(self, plain: Path, change: dict[str, Any]) -> None:
        reader = BatchReader(plain)
        with pytest.raises(ConfigError):
            reader.load_state_dict(reader.state_dict() | change)
        with pytest.raises(ConfigError, match="not a state"):
            reader.load_state_dict({})


class TestTransforms:
    def test_what_a_sample_becomes_depends_on_seed_epoch_and_row_alone(self, plain: Path) -> None:
        def seen(**options: Any) -> dict[tuple[int, int], bytes]:
            reader = BatchReader(plain, transforms=[RandomAffine(), RandomNoise()], **options)
            return {
                (batch.epoch, row): image.tobytes()
                for _ in range(2)
                for batch in reader
                for row, image in zip(batch.indices.tolist(), batch.images, strict=True)
            }

        first = seen()
        assert len(set(first.values())) == 80
        assert seen(batch_size=3, shuffle="block", prefetch=2, threads=2) == first
        ranks = [seen(rank=rank, world_size=2, batch_size=5) for rank in range(2)]
        assert ranks[0] | ranks[1] == first
        assert not set(seen(seed=1).values()) & set(first.values())

    def test_patches_make_a_batch_longer(self, made: Content, plain: Path) -> None:
        with pytest.warns(UserWarning, match="filled"):
            reader = BatchReader(
                plain,
                structures=BOTH,
                batch_size=7,
                remainder="fill",
                transforms=[RandomPatches((6, 6), count=3)],
            )
        *_, last = reader
        assert last.images.shape == (21, 6, 6)
        assert last.masks.shape == (21, 2, 6, 6)
        assert last.padding.tolist() == [False] * 15 + [True] * 6
        assert Counter(last.indices.tolist()) == dict.fromkeys(last.indices.tolist(), 3)
        for image, row in zip(last.images, last.indices.tolist(), strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(made.images[row], (6, 6))
            assert (windows == image).all((2, 3)).any()

    def test_transforms_never_touch_the_file_or_each_other(self, made: Content, plain: Path) -> None:
        def spoil(image: Any, masks: Any, rng: np.random.Generator) -> Any:
            image += 1
            masks[:] = 0
            return image, masks

        all_options: list[dict[str, Any]] = [{}, {"prefetch": 2}]
        for options in all_options:
            for batch in BatchReader(plain, transforms=[spoil], **options):
                np.testing.assert_array_equal(batch.images, made.images[batch.indices] + 1)
                assert not batch.masks.any()

    def test_samples_of_several_shapes_are_an_error(self, plain: Path) -> None:
        def crop(image: Any, masks: Any, rng: np.random.Generator) -> Any:
            size = int(rng.integers(3, 9))
            return image[:size], masks[:, :size]

        with pytest.raises(ConfigError, match="come out alike"):
            list(BatchReader(plain, transforms=[crop]))

    @pytest.mark.parametrize("transform", [CropAround((4, 4)), RandomFlip(), RandomAffine()])
    def test_layout_and_dtype_hold_after_transforms(self, plain: Path, transform: Transform) -> None:
        batch: Batch = next(
            iter(
                BatchReader(plain, structures=BOTH, layout="NHWC", normalize="minmax", transforms=[transform])
            )
        )
        assert batch.images.dtype == np.float32
        assert batch.images.shape[-1] == 1
        assert batch.masks.shape[-1] == 2
        assert batch.images.shape[:-1] == batch.masks.shape[:-1]


def test_a_pickled_reader_serves_the_same(plain: Path) -> None:
    reader = BatchReader(plain, where=lambda table: table["fold"] < 9, prefetch=1, transforms=[RandomFlip()])
    next(iter(reader))
    copy = pickle.loads(pickle.dumps(reader))
    assert picture(copy.epoch(4)) == picture(reader.epoch(4))
    assert copy.state_dict() == reader.state_dict()


def test_the_words_of_a_reader(plain: Path) -> None:
    reader = BatchReader(plain)
    assert repr(reader).endswith("40 samples, 5 batches an epoch)")
    assert reader.image_shape == (12, 10)
    assert reader.dtype == np.int16
