"""Recipes for DenseNet with shared memory: those of the same networks without."""

from dataclasses import replace

from seminal.core import DataSpec, Recipe
from seminal.recipes import densenet

DEFAULT = densenet.DEFAULT


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Huang et al. 2016, Secs. 4.1 and 4.2: what the memory holds is not seen in training."""
    return replace(densenet.paper(variant.removesuffix("-shared"), spec), variant=variant)


def modern(variant: str, spec: DataSpec) -> Recipe:
    """The modern recipe of the network without shared memory."""
    return replace(densenet.modern(variant.removesuffix("-shared"), spec), variant=variant)
