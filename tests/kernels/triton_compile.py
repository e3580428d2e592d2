"""Compiles Triton kernels for sm_90 on a machine without a GPU, and reads what they take.

The work is done by this file run as a program, in a process of its own: this one may be triton's interpreter. Importing
triton takes seconds, so hand over many kernels at once. triton keeps what it has compiled in its cache.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SHARED_BYTES_OF_SM90 = 227 * 1024


@dataclass(frozen=True, slots=True)
class Kernel:
    """What to compile: `signature` names each argument's type ("*bf16", "i32", "fp32"), constexprs' is "constexpr".

    `aligned` names the arguments that are multiples of 16 (pointers, strides), as triton finds out at a launch.
    A constexpr must be None, a bool, a number or a string. `max_registers` are those of a thread; None leaves them to
    the assembler.
    """

    module: str
    name: str
    signature: Mapping[str, str]
    constexprs: Mapping[str, Any] = field(default_factory=dict)
    num_warps: int = 4
    num_stages: int = 3
    max_registers: int | None = None
    aligned: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a compiled kernel takes of a multiprocessor."""

    shared_bytes: int
    spill_bytes: int
    num_registers: int


def compile_all(kernels: Sequence[Kernel]) -> list[Report]:
    """Compile for sm_90 in one process; fails with the compiler's own message."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    # Later versions change this default, and some warn of it.
    environment.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    command = [sys.executable, __file__]
    work = json.dumps([asdict(kernel) for kernel in kernels])
    done = subprocess.run(command, input=work, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [Report(**report) for report in json.loads(done.stdout.splitlines()[-1])]


def compile_for_sm90(
    module: str, kernel_name: str, signature: Mapping[str, str], constexprs: Mapping[str, Any], num_warps: int = 4
) -> Report:
    """Compile one kernel; see `compile_all` for several."""
    return compile_all([Kernel(module, kernel_name, signature, constexprs, num_warps)])[0]


def _compile(kernel: Kernel) -> Report:
    import importlib

    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = getattr(importlib.import_module(kernel.module), kernel.name)
    # Named in the order of the function's arguments, with every constexpr that has no entry filled in.
    signature = {name: kernel.signature.get(name, "constexpr") for name in function.arg_names}
    unknown = (kernel.signature.keys() | kernel.constexprs.keys() | set(kernel.aligned)) - set(function.arg_names)
    assert not unknown, f"{kernel.name} has no arguments {sorted(unknown)}"
    attributes = {(function.arg_names.index(name),): [["tt.divisibility", 16]] for name in kernel.aligned}
    source = ASTSource(fn=function, signature=signature, constexprs=dict(kernel.constexprs), attrs=attributes)
    options = {"num_warps": kernel.num_warps, "num_stages": kernel.num_stages}
    if kernel.max_registers is not None:
        options["maxnreg"] = kernel.max_registers
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    spills, registers = _assemble(compiled.asm["ptx"])
    return Report(shared_bytes=compiled.metadata.shared, spill_bytes=spills, num_registers=registers)


def _assemble(ptx: str) -> tuple[int, int]:
    """Bytes of spills, stored and loaded, and registers, as triton's own ptxas says."""
    from triton.backends.nvidia.compiler import get_ptxas

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx, encoding="utf-8")
        command = [get_ptxas(90).path, "-v", "--gpu-name=sm_90a", str(source), "-o", str(Path(folder, "kernel.cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    spilled = re.findall(r"(\d+) bytes spill (?:stores|loads)", said)
    used = re.findall(r"Used (\d+) registers", said)
    assert spilled and used, said
    return sum(map(int, spilled)), max(map(int, used))


if __name__ == "__main__":
    todo = [Kernel(**kernel) for kernel in json.load(sys.stdin)]
    print(json.dumps([asdict(_compile(kernel)) for kernel in todo]))
