"""What makes a step of a gradient: Adam, or RMSProp as TensorFlow has it."""

from collections.abc import Iterable

import torch
from torch import nn

from bench.config import Training

EPSILON = 1e-10  # TensorFlow's, which stands under its root


def optimizer(parameters: Iterable[nn.Parameter], training: Training) -> torch.optim.Optimizer:
    """Adam with L2 on every parameter, as the GAT authors' code has it; or, with g the gradient, first s = 1 and m = 0,

    s <- decay s + (1 - decay) g^2;   m <- momentum m + lr g / sqrt(s);   parameter <- parameter - m
    """
    asked, parameters = training.rmsprop, list(parameters)
    if asked is None:
        # Fused: one pass over each parameter, where the default makes a tensor of every intermediate.
        return torch.optim.Adam(parameters, lr=training.lr, weight_decay=training.weight_decay, fused=True)
    made = torch.optim.RMSprop(
        parameters,
        lr=training.lr,
        alpha=asked.decay,
        eps=EPSILON,
        weight_decay=training.weight_decay,
        momentum=asked.momentum,
    )
    for parameter in parameters:  # torch would start s at 0, and so with steps that are longer by far
        made.state[parameter] = {
            "step": torch.zeros(()),
            "square_avg": torch.ones_like(parameter),
            "momentum_buffer": torch.zeros_like(parameter),
        }
    return made
