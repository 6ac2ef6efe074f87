"""The embedded faces: a procedural head that stands in for licensed data sets.

`preset` describes a population as a list of `FaceSpec`, `render` makes its pictures, landmarks and masks.
"""

from augment.rig.action_units import EXPRESSIONS
from augment.rig.presets import Population, preset, preset_names
from augment.rig.render import FaceSpec, RigImages, render, simulated_frontal

__all__ = [
    "EXPRESSIONS",
    "FaceSpec",
    "Population",
    "RigImages",
    "preset",
    "preset_names",
    "render",
    "simulated_frontal",
]
