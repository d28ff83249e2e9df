"""What hypothesis draws: affines, shapes, samplings."""

from itertools import permutations, product

import numpy as np
from hypothesis import strategies as st

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
"""All 48 ways to lay three axes along the world's."""


def affine_of(
    order: tuple[int, ...],
    signs: tuple[int, ...],
    *,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    tilt: tuple[float, ...] = (0.0, 0.0, 0.0),
    origin: tuple[float, ...] = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Return the affine whose file axis `a` runs along world axis `order[a]`, then tilted about x, y and z."""
    turned = np.eye(3)
    for axis, angle in enumerate(tilt):
        a, b = [other for other in range(3) if other != axis]
        rotation = np.eye(3)
        rotation[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turned = rotation @ turned
    affine = np.eye(4)
    for axis in range(3):
        affine[:3, axis] = turned[:, order[axis]] * signs[axis] * spacing[axis]
    affine[:3, 3] = origin
    return affine


spacings = st.tuples(*[st.floats(0.3, 8.0)] * 3)
tilts = st.tuples(*[st.floats(-0.5, 0.5)] * 3)  # radians; 0.5 is far more than a gantry tilts
origins = st.tuples(*[st.floats(-300.0, 300.0)] * 3)
shapes = st.tuples(*[st.integers(1, 24)] * 3)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Draw an affine of any orientation, spacing, tilt and origin."""
    order, signs = draw(st.sampled_from(ORIENTATIONS))
    return affine_of(order, signs, spacing=draw(spacings), tilt=draw(tilts), origin=draw(origins))
