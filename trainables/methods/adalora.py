"""Ranks of AdaLoRA: singular values of adapters that stay (Zhang et al. 2023, arXiv 2303.10512).

peft's AdaLoraModel has the rule, and expects its caller to apply it after each step and to add the
penalty to the loss.
"""

from __future__ import annotations

from typing import Any

import torch

from xlt.trainables.methods.adapted import ADAPTER, is_adapted

_MEANS = ("exp_avg_ipt", "exp_avg_unc")
"""Attributes of peft's RankAllocator with the running means of sensitivity and its uncertainty."""


class RankAllocation:
    """Rule that gives ranks to the adapters of a classifier while it is trained.

    Args:
        model: Classifier of peft with AdaLoRA.

    Attributes:
        state: Tensors that the rule fills step by step; equal in every worker.
    """

    def __init__(self, model: Any) -> None:
        self._tuner = model.base_model
        self._config = self._tuner.peft_config[ADAPTER]
        self._parameters = {
            name: parameter
            for name, parameter in self._tuner.model.named_parameters()
            if "lora_" in name and ADAPTER in name
        }
        self.state = {
            f"{mean}.{name}": torch.zeros_like(parameter)
            for mean in _MEANS
            for name, parameter in self._parameters.items()
        }

    def before_step(self, step: int) -> None:
        """Add the gradients of the penalty for factors that are not orthogonal.

        It is ``orth_reg_weight`` times the mean over all factors P of the Frobenius norm of
        P P^T - I, as in AdaLoraModel.forward of peft. It depends on no text, so it is no part of
        the loss that a history shows.

        Args:
            step: Number of the step, from 1.
        """
        config = self._config
        if step > config.total_step - config.tfinal:  # lost ranks are zeros, and stay so
            config.rank_pattern = {
                name: (parameter != 0).flatten().tolist()
                for name, parameter in self._parameters.items()
                if "lora_E" in name
            }
        factors = [
            (parameter, parameter if "lora_A" in name else parameter.T)
            for name, parameter in self._parameters.items()
            if "lora_A" in name or "lora_B" in name
        ]
        norms = []
        for _, factor in factors:
            product = factor @ factor.T
            norms.append(torch.norm(product - torch.eye(len(product), device=product.device)))
        penalty = config.orth_reg_weight * torch.stack(norms).mean()
        parameters = [parameter for parameter, _ in factors]
        for parameter, grad in zip(
            parameters, torch.autograd.grad(penalty, parameters), strict=True
        ):
            parameter.grad = grad if parameter.grad is None else parameter.grad + grad

    def after_step(self, step: int) -> None:
        """Set the singular values that lose their rank to zero, before gradients are cleared.

        Args:
            step: Number of the step, from 1.
        """
        allocator, config = self._tuner.rankallocator, self._config
        if step <= config.total_step - config.tfinal:
            allocator.ipt = dict.fromkeys(self._parameters)
            for mean in _MEANS:
                setattr(allocator, mean, {n: self.state[f"{mean}.{n}"] for n in self._parameters})
        self._tuner.update_and_allocate(step)
        for mean in _MEANS:
            for name, tensor in getattr(allocator, mean).items():
                self.state[f"{mean}.{name}"].copy_(tensor)
        config.rank_pattern = None  # else peft would leave the lost ranks out of its files


def find_rank_allocation(model: Any) -> RankAllocation | None:
    """Make the rule of a classifier with AdaLoRA; None for others."""
    has_ranks = is_adapted(model) and hasattr(model.base_model, "rankallocator")
    return RankAllocation(model) if has_ranks else None
