"""A seed for each purpose, derived by hashing; never one stream for everything."""

import hashlib

import torch


def derive(*purpose: int | str) -> int:
    """A seed in [0, 2^63) from what it is for: `derive(seed, "split")`."""
    text = "/".join(str(part) for part in purpose)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*purpose: int | str) -> torch.Generator:
    """A CPU generator seeded by `derive`."""
    return torch.Generator().manual_seed(derive(*purpose))
