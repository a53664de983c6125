"""Recipes for ShuffleNet V2: "exactly the same as ShuffleNet v1" (Ma et al. 2018, Sec. 4)."""

from seminal.core import DataSpec, Recipe
from seminal.papers.shufflenet_v2 import VARIANTS
from seminal.recipes.shufflenet import settings, weakly_decayed

DEFAULT = "modern"


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Ma et al. 2018, Sec. 4, which points to Zhang et al. 2017, Sec. 4."""
    return settings(variant, VARIANTS[variant])


def modern(variant: str, spec: DataSpec) -> Recipe:
    """The recipe for large photographs, with the paper's weaker decay."""
    return weakly_decayed(variant, VARIANTS[variant], spec)
