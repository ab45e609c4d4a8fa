"""The layouts of the residual networks of face recognition: what `bench.extractors.iresnet` can build."""

from __future__ import annotations

from typing import NamedTuple


class Layout(NamedTuple):
    """What distinguishes the networks of this family.

    Attributes:
        title: what a reader must know of it.
        units: residual units in each of the four stages.
        squeeze: whether each unit ends in squeeze-and-excitation.
        norm_before_prelu: whether a batch norm lies between a unit's first convolution and its PReLU.
        insightface: whether the first unit of every stage has a convolution in its shortcut, also where the width
            stays, and the last batch norm has weights.
    """

    title: str
    units: tuple[int, int, int, int]
    squeeze: bool = False
    norm_before_prelu: bool = True
    insightface: bool = False


LAYOUTS = {
    "ir_18": Layout("IR-18, AdaFace's layout", (2, 2, 2, 2)),
    "ir_50": Layout("IR-50, AdaFace's layout", (3, 4, 14, 3)),
    "ir_se_50": Layout(
        "IR-SE-50, AdaFace's layout (squeeze in all 24 units, batch norm between the convolutions)",
        (3, 4, 14, 3),
        squeeze=True,
    ),
    "ir_101": Layout("IR-101, AdaFace's layout", (3, 13, 30, 3)),
    "curricular_101": Layout(
        "IR-101 of the original CurricularFace (no batch norm before a unit's PReLU)",
        (3, 13, 30, 3),
        norm_before_prelu=False,
    ),
    "iresnet50": Layout("IResNet-50, insightface's layout", (3, 4, 14, 3), insightface=True),
    "iresnet100": Layout("IResNet-100, insightface's layout", (3, 13, 30, 3), insightface=True),
}
"""Name -> layout. Several networks are called IR-SE-50, and they don't reach the same accuracy."""
