"""Graph attention layers from several libraries behind one contract; imports nothing from `bench`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from implementations.layers import Layer, layer

__all__ = ["Layer", "layer"]


def __getattr__(name: str) -> Any:
    """`layer` and `Layer` when they are asked for: torch is not imported before."""
    if name in __all__:
        from implementations import layers

        return getattr(layers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
