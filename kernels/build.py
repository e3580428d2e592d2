"""Compiles `csrc/` at first use into a shared library, kept under a name that says what went into it.

Knows compilers and files, not what the library does. A library appears in the cache whole or not at all, so any number
of processes may build at once.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from espalier.kernels.errors import NativeBuildError

SOURCES = Path(__file__).parent / "csrc"
# Contraction would fuse products and sums differently from place to place: bits would depend on the tile.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-pthread", "-fPIC", "-fvisibility=hidden", "-w")
COMPILERS = ("c++", "g++", "clang++")
TIMEOUT_S = 300


def cache_folder() -> Path:
    """Where built libraries are kept: ESPALIER_CACHE_DIR, `cache` in ESPALIER_DATA_DIR, or `espalier` in the user's."""
    if chosen := os.environ.get("ESPALIER_CACHE_DIR"):
        return Path(chosen)
    if chosen := os.environ.get("ESPALIER_DATA_DIR"):
        return Path(chosen) / "cache"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "espalier"


def find_compiler() -> str:
    """The C++ compiler: CXX if it is set, else the first of the usual ones that is there."""
    chosen = os.environ.get("CXX")
    for name in (chosen,) if chosen else COMPILERS:
        if path := shutil.which(name):
            return path
    raise NativeBuildError(f"no C++ compiler ({chosen or ', '.join(COMPILERS)}); install g++ or set CXX")


def build_library() -> Path:
    """The library for this machine, from the cache or newly built. Raises NativeBuildError."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise NativeBuildError(f"the native library is for x86-64, this is {platform.machine()!r}")
    compiler, folder = find_compiler(), cache_folder()
    target = folder / f"kernels-{_key(compiler)}.so"
    if not target.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _build(compiler, target)
        except OSError as error:
            raise NativeBuildError(f"cannot write {folder}: {error}; set ESPALIER_CACHE_DIR") from error
    return target


def _key(compiler: str) -> str:
    """A digest of everything that the library's bytes depend on."""
    digest = hashlib.sha256(_run([compiler, "--version"]).encode())
    digest.update(repr((FLAGS, _processor())).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _processor() -> str:
    """What `-march=native` looks at: a home directory may be shared by machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def _build(compiler: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as name:
        work = Path(name)
        sources = sorted(SOURCES.glob("*.cpp"))
        objects = [work / f"{source.stem}.o" for source in sources]
        jobs = [
            subprocess.Popen(
                [compiler, *FLAGS, "-c", str(source), "-o", str(made)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
            for source, made in zip(sources, objects, strict=True)
        ]  # fmt: skip
        failures = [_wait(job) for job in jobs]
        if any(failures):
            raise NativeBuildError(f"{compiler} failed: {next(filter(None, failures))[:2000]}")
        _run([compiler, "-shared", "-pthread", *map(str, objects), "-o", str(work / target.name)])
        # In one move: who looks for the library finds none or a whole one.
        (work / target.name).replace(target)


def _wait(job: subprocess.Popen[str]) -> str:
    """What the compiler complained of; empty if it succeeded."""
    try:
        _, complaint = job.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        job.kill()
        job.communicate()
        return f"no result within {TIMEOUT_S} s"
    return "" if job.returncode == 0 else complaint or f"exit status {job.returncode}"


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeBuildError(f"cannot run {command[0]}: {error}") from error
    if done.returncode:
        raise NativeBuildError(f"{command[0]} failed: {done.stderr[:2000] or done.returncode}")
    return done.stdout
