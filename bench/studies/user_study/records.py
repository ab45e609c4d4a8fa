"""The settings of a study: its size, its texts, the rules fixed before the first vote; what a simulation assumes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Plan(BaseModel):
    """How large a study is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    items: int = Field(60, ge=1, description="photos, over all datasets")
    raters: int = Field(30, ge=1, description="people who are asked")
    per_rater: int | None = Field(None, ge=1, description="questions to each; if none, as many as items, at most 30")
    checks: int = Field(2, ge=0, description="checks of each rater: the photo itself against a stranger's")
    repeats: int = Field(2, ge=0, description="earlier questions asked again, sides swapped")
    size: int = Field(384, ge=64, le=1024, description="side of an image in pixels")
    seed: int = Field(0, ge=0, description="of everything that is drawn")

    @property
    def questions(self) -> int:
        """Main questions to each rater."""
        return min(self.items, 30) if self.per_rater is None else self.per_rater


class Texts(BaseModel):
    """What raters read."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: str = Field("Which face is more alike?", description="heading of the page")
    question: str = Field(
        "Which of the two images best resembles the face in the photo, regardless of quality or realism?",
        description="what is asked",
    )
    contact: str = Field("", description="whom raters may ask")
    approval: str = Field("", description="number of the ethics approval")
    post: str = Field("", description="https address that results are sent to; if none, raters save a file")


class Rules(BaseModel):
    """When a rater's votes are left out, and what a rater may answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    failed_checks: int = Field(0, ge=0, description="checks that a rater may fail")
    median_ms: int = Field(600, ge=0, description="least median time of a rater's answers, in milliseconds")
    minimum_ms: int = Field(300, ge=0, description="time before an answer is taken, in milliseconds")
    completed: float = Field(0.5, ge=0, le=1, description="least share of questions that a rater must have answered")
    tie: bool = Field(False, description="whether raters may say that they can't tell")


class World(BaseModel):
    """What simulated studies take as true."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    share: float = Field(0.6, gt=0, lt=1, description="true share of votes for the better method")
    rater_sd: float = Field(0.5, ge=0, description="spread of raters' preferences, standard deviation in logits")
    item_sd: float = Field(1.0, ge=0, description="spread of items, standard deviation in logits")
    studies: int = Field(1000, ge=10, description="simulated studies")
