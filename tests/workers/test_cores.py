"""How many cores may be used, under the limits that batch systems and containers set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dicom_etl.workers import usable_cores


@pytest.fixture(autouse=True)
def _sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_control_groups_the_affinity_decides(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 16


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 16), ("250000 100000", 3), ("50000 100000", 1), ("9900000 100000", 16)],
)
def test_a_quota_of_version_2(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/batch/job\n")
    write(tmp_path / "sys/fs/cgroup/batch/job/cpu.max", quota + "\n")
    assert usable_cores(tmp_path) == cores


def test_a_quota_of_a_group_above_holds_too(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/batch/job\n")
    write(tmp_path / "sys/fs/cgroup/batch/job/cpu.max", "800000 100000\n")
    write(tmp_path / "sys/fs/cgroup/batch/cpu.max", "200000 100000\n")
    assert usable_cores(tmp_path) == 2


@pytest.mark.parametrize(("quota", "cores"), [("-1", 16), ("400000", 4)])
def test_a_quota_of_version_1(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path / "proc/self/cgroup", "5:memory:/box\n4:cpu,cpuacct:/box\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota + "\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert usable_cores(tmp_path) == cores


def test_on_this_machine_there_is_at_least_one() -> None:
    assert 1 <= usable_cores() <= 16


def test_without_an_affinity_mask_the_machine_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores(tmp_path) == 1
