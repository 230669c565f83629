"""LoRA adapters of several members, applied to the places of each in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class ApplyAdapters(torch.autograd.Function):
    """result + scaling * up @ down @ (x * mask), each segment with matrices of its own.

    Its gradients are written out: autograd would take segments apart and join them with copies,
    which cost a CPU as much as the adapters' own products.
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
        """See the class.

        Args:
            ctx: What backward needs.
            x: All places x features, of the type of result; so are the products.
            mask: What dropout keeps of x, in its shape; None: all.
            result: All places x output features, of the frozen module.
            sizes: Places of each segment.
            scaling: Of each segment.
            matrices: Every segment's down (rank x features), then every segment's up (output
                features x rank).
        """
        x = x if mask is None else x * mask
        down, up = _split_in_half([matrix.to(x.dtype) for matrix in matrices])
        whole = torch.empty_like(result)
        low = [part @ a.mT for part, a in zip(torch.split(x, sizes), down, strict=True)]
        for at, given, part, b, scale in zip(
            torch.split(whole, sizes), torch.split(result, sizes), low, up, scaling, strict=True
        ):
            torch.addmm(given, part, b.mT, alpha=scale, out=at)
        ctx.sizes, ctx.scaling = sizes, scaling
        ctx.save_for_backward(x, mask, *matrices, *low)
        return whole

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        """Of x, result and the matrices."""
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
            for at, g, a in zip(torch.split(x_grad, ctx.sizes), low_grad, down, strict=True):
                torch.mm(g, a, out=at)
            x_grad = x_grad if mask is None else x_grad.mul_(mask)
        of_matrices = [g.to(m.dtype) for g, m in zip(down_grad + up_grad, matrices, strict=True)]
        return x_grad, None, grad, None, None, *of_matrices


apply_adapters: Any = ApplyAdapters.apply
"""The function of :class:`ApplyAdapters`, with its gradients."""


def _split_in_half(
    matrices: Sequence[torch.Tensor],
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    half = len(matrices) // 2
    return list(matrices[:half]), list(matrices[half:])
