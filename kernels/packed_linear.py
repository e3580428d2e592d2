"""Linear layers of the native library. Legend: T tokens, I input features, O output features.

Weights are laid out once: panels of neighbouring outputs, each by rising input. A row's result never depends on T.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from espalier.kernels import native
from espalier.kernels.errors import KernelError
from espalier.kernels.huge_pages import empty_bytes


class PackedLinear:
    """A linear layer over packed weights; takes and gives float32 on the CPU."""

    __slots__ = ("_bias_o", "_library", "_panels", "_scale_o", "in_features", "matrix", "out_features")

    def __init__(
        self, library: native.Library, weight_oi: Tensor, scale_o: Tensor | None, bias_o: Tensor | None
    ) -> None:
        """`weight_oi` is float32, or int8 with a float32 `scale_o`."""
        kind = native.FLOAT32 if scale_o is None else native.INT8
        panel = library.layout_of(kind)[0]
        self._library = library
        self.out_features, self.in_features = weight_oi.shape
        self._panels = _panels(weight_oi, *library.layout_of(kind))
        self._scale_o = None if scale_o is None else F.pad(scale_o, (0, -self.out_features % panel))
        self._bias_o = None if bias_o is None else bias_o.float().contiguous()
        self.matrix = native.Matrix(
            format=kind,
            inputs=self.in_features,
            outputs=self.out_features,
            panels=native.pointer(self._panels),
            scale=native.pointer(self._scale_o),
            bias=native.pointer(self._bias_o),
        )

    @property
    def panel_bytes(self) -> int:
        """Bytes of the packed weights."""
        return self._panels.nbytes

    def move_to(self, place: Tensor) -> None:
        """Keep the packed weights in `place`, uint8 [panel_bytes], from now on."""
        self._panels = place.copy_(self._panels.view(-1).view(torch.uint8))
        self.matrix.panels = place.data_ptr()

    def __call__(self, x_ti: Tensor) -> Tensor:
        x_ti = self._taken(x_ti)
        out = torch.empty(len(x_ti), self.out_features)
        if len(x_ti):
            self._library.linear(
                ctypes.byref(self.matrix), x_ti.data_ptr(), len(x_ti), out.data_ptr(), torch.get_num_threads()
            )
        return out

    def pick(self, x_ti: Tensor, start: Tensor, token: Tensor) -> Tensor:
        """Of row t only the outputs token[start[t]] ... token[start[t+1] - 1], the same bits as in the whole product.

        `start` is int32 [T+1], `token` int32 [E]; float32 [E], minus infinity beyond start[T]. Tokens that are
        neighbours are cheap if they are listed side by side. Raises KernelError.
        """
        x_ti = self._taken(x_ti)
        native.check_index("start", start, torch.int32)
        native.check_index("token", token, torch.int32)
        if len(start) != len(x_ti) + 1:
            raise KernelError(f"start has {len(start)} entries, {len(x_ti)} rows need {len(x_ti) + 1}")
        out = torch.empty(len(token))
        fault = self._library.sparse_head(
            ctypes.byref(self.matrix), x_ti.data_ptr(), len(x_ti), start.data_ptr(), token.data_ptr(), len(token),
            out.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        native.check(fault)
        return out

    def _taken(self, x_ti: Tensor) -> Tensor:
        if x_ti.ndim != 2 or x_ti.shape[1] != self.in_features:
            raise KernelError(f"x has shape {tuple(x_ti.shape)}, [tokens, {self.in_features}] is needed")
        if not native.is_plain(x_ti):
            raise KernelError(f"x is {x_ti.dtype} on {x_ti.device}, packed weights take float32 on the CPU")
        return x_ti.contiguous()


def gather(linears: Sequence[PackedLinear]) -> None:
    """Move the weights of all layers into one piece of memory, in order, so that it can lie in huge pages."""
    # Each begins at a cache line.
    sizes = [-(-linear.panel_bytes // 64) * 64 for linear in linears]
    region = empty_bytes(sum(sizes))
    for linear, place in zip(linears, region.split(sizes), strict=True):
        linear.move_to(place[: linear.panel_bytes])


def _panels(weight_oi: Tensor, panel: int, depth: int, group: int, offset: int) -> Tensor:
    """[panels, I / depth, panel, depth], the outputs padded to whole panels, the inputs to whole groups."""
    out_features, in_features = weight_oi.shape
    if offset:
        weight_oi = (weight_oi.to(torch.int16) + offset).to(torch.uint8)
    padded = F.pad(weight_oi, (0, -in_features % group, 0, -out_features % panel))
    return padded.view(len(padded) // panel, panel, -1, depth).transpose(1, 2).contiguous()
