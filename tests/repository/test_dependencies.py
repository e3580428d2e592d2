"""Dependencies are bounded in pyproject.toml and pinned in requirements.lock, and the two agree."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
REQUIREMENTS = [Requirement(line) for line in PROJECT["dependencies"] + EXTRAS]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINS = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in LOCK}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_a_dependency_has_both_bounds_and_a_pin_between_them(requirement: Requirement) -> None:
    operators = {specifier.operator for specifier in requirement.specifier}
    assert operators == {">=", "<"}
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_lock_pins_one_exact_version_of_each_package_for_any_index() -> None:
    assert len(PINS) == len(LOCK)
    assert {specifier.operator for pin in LOCK for specifier in pin.specifier} == {"=="}
    assert [pin for pin in PINS.values() if "+" in pin] == []


def test_the_lock_leaves_the_accelerator_packages_to_torch() -> None:
    # triton, for the tests of its kernels on a CPU, is the exception: set-up skips the pin where torch brings its own.
    assert [name for name in PINS if name.startswith("nvidia-")] == []
