"""Apply the LoRA adapters of several trials to one tensor, each to its own segment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class ApplyAdapters(torch.autograd.Function):
    """Compute result + scaling * up @ down @ (x * mask), each segment with its own matrices.

    The gradients are written out. Autograd would split the segments and join them with copies,
    which cost a CPU as much as the products of the adapters.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        mask: torch.Tensor | None,
        result: torch.Tensor,
        sizes: list[int],
        scaling: list[float],
        *matrices: torch.Tensor,
    ) -> torch.Tensor:
        """Compute the sum of the class docstring.

        Args:
            ctx: Context that stores the tensors for ``backward``.
            x: num_places x num_features, in the data type of ``result``, in which products are
                computed.
            mask: Dropout mask in the shape of x; None means that nothing is dropped.
            result: num_places x num_outputs, the output of the frozen module.
            sizes: Number of places of each segment.
            scaling: Scaling factor of each segment.
            matrices: The down matrix of each segment (rank x num_features), then the up matrix of
                each segment (num_outputs x rank).

        Returns:
            num_places x num_outputs.
        """
        x = x if mask is None else x * mask
        down, up = _split_in_half([matrix.to(x.dtype) for matrix in matrices])
        adapted = torch.empty_like(result)
        low = [part @ a.mT for part, a in zip(torch.split(x, sizes), down, strict=True)]
        for target, segment, part, b, scale in zip(
            torch.split(adapted, sizes), torch.split(result, sizes), low, up, scaling, strict=True
        ):
            torch.addmm(segment, part, b.mT, alpha=scale, out=target)
        ctx.sizes, ctx.scaling = sizes, scaling
        ctx.save_for_backward(x, mask, *matrices, *low)
        return adapted

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        """Return the gradients of x, result and the matrices."""
        x, mask, *saved = ctx.saved_tensors
        num = len(ctx.sizes)
        matrices, low = saved[: 2 * num], saved[2 * num :]
        down, up = _split_in_half([matrix.to(x.dtype) for matrix in matrices])
        parts = torch.split(grad, ctx.sizes)
        low_grad = [part @ b * s for part, b, s in zip(parts, up, ctx.scaling, strict=True)]
        down_grad = [
            g.mT @ part for g, part in zip(low_grad, torch.split(x, ctx.sizes), strict=True)
        ]
        up_grad = [part.mT @ a * s for part, a, s in zip(parts, low, ctx.scaling, strict=True)]
        x_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = torch.empty_like(x)
            for target, g, a in zip(torch.split(x_grad, ctx.sizes), low_grad, down, strict=True):
                torch.mm(g, a, out=target)
            x_grad = x_grad if mask is None else x_grad.mul_(mask)
        matrix_grads = [g.to(m.dtype) for g, m in zip(down_grad + up_grad, matrices, strict=True)]
        return x_grad, None, grad, None, None, *matrix_grads


apply_adapters: Any = ApplyAdapters.apply
"""Apply :class:`ApplyAdapters` as a differentiable function."""


def _split_in_half(
    matrices: Sequence[torch.Tensor],
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    half = len(matrices) // 2
    return list(matrices[:half]), list(matrices[half:])
