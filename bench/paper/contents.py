"""The tables and figures of the paper, in its order: what each shows, and which experiment makes ours."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report.published import METRICS


@dataclass(frozen=True)
class Shown:
    """Published numbers that belong to an item.

    Attributes:
        table: name in `reports/published/`.
        metrics: the papers' names of the metrics; empty for all.
    """

    table: str
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """A table or figure of the paper.

    Attributes:
        number: as the paper has it.
        title: what it is about.
        shows: what it shows, in one sentence.
        experiment: that makes ours.
        published: its numbers, where they are known.
        said: what the paper says of it in words; "" where its numbers are in `published`.
    """

    number: str
    title: str
    shows: str
    experiment: str
    published: Shown | None = None
    said: str = ""

    @property
    def id(self) -> str:
        """What the page calls its section.

        >>> Item("Fig. 12, 16", "", "", "").id
        'fig-12-16'
        """
        return "".join(letter if letter.isalnum() else "-" for letter in self.number.lower()).replace("--", "-")


FIGURE_ALONE = "The paper shows a figure without numbers."

CONTENTS = (
    Item(
        "Fig. 3",
        "Size of the training set",
        "How well models keep the identity of the input that learned from fewer or from more people.",
        "fig3",
        said=FIGURE_ALONE,
    ),
    Item(
        "Table 1",
        "Methods compared",
        "Diversity, quality and ID similarity of the methods on one dataset, under one protocol.",
        "table1",
        Shown("arc2face_table1", tuple(name for name in METRICS if name != "ID similarity")),
    ),
    Item(
        "Fig. 5",
        "Distributions of ID similarity",
        "How alike the samples of each method are to their input, as a distribution over all samples.",
        "fig5",
        Shown("arc2face_table1", ("ID similarity",)),
    ),
    Item(
        "User study",
        "Which face do people find more alike?",
        "Raters see the input and a sample of each of two methods, and choose the one that resembles the input more.",
        "user_study",
        said="50 people compared Arc2Face with InstantID on 30 people; the share is drawn in Fig. 5 without a number.",
    ),
    Item(
        "Table 2",
        "Recognition trained on synthetic faces",
        "The accuracy of a recogniser that learned from faces of the method, next to one that learned from photos.",
        "table2",
        Shown("arc2face_table2"),
    ),
    Item(
        "Fig. 7",
        "Control of pose and expression",
        "Faces of one person take on the expression and pose that were asked for.",
        "fig7",
        said="The paper shows images without numbers; so do Fig. 19 and 20.",
    ),
    Item(
        "Fig. 8",
        "Principal components of the embedding",
        "How much variance the first components explain, and how alike faces are that are drawn from them alone.",
        "fig8",
        said="Faces keep their identity from 300 to 400 of 512 components (section 4.4).",
    ),
    Item(
        "Fig. 9",
        "CLIP encoder or MLP",
        "How well the identity is kept where an MLP reads the embedding, and where the CLIP encoder does.",
        "fig9",
        said="The paper's figure has no numbers: a four-layer MLP keeps the identity less than the CLIP encoder does.",
    ),
    Item(
        "Fig. 10",
        "Interpolation between people",
        "On the way from one embedding to another the faces turn from one person into the other.",
        "fig10",
        said="The paper shows images without numbers.",
    ),
    Item(
        "Fig. 11",
        "Nearest faces of the training set",
        "How alike samples are to the nearest face of the training set, and to their own input; Fig. 15 has pairs.",
        "fig11",
        Shown("arc2face_table1", ("ID similarity", "training similarity")),
    ),
    Item(
        "Supplement, Fig. 14",
        "Averaging several photos",
        "How alike faces are to a person that are made from the mean embedding of one, two or more photos.",
        "fig14",
        said="The paper shows images, and says that averaging may lead to slightly higher resemblance.",
    ),
)
"""Fig. 4, 6 and 16 to 18 are images of samples, which the page of every run has. The supplement's curves by AdaFace are
those of Fig. 5 by another recogniser of the evaluator."""
