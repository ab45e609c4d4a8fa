"""What became of a sample, a photo or a view: one word each, in every table, message and page."""

from __future__ import annotations

from enum import StrEnum


class SampleStatus(StrEnum):
    """What became of a sample; a photo has one of the first, third and fourth."""

    OK = "ok"
    GENERATION_ERROR = "generation_error"
    UNDECODABLE = "undecodable"
    NO_FACE = "no_face"
    UNAVAILABLE = "unavailable"
    REFERENCE_FAILED = "reference_failed"

    @property
    def is_failure(self) -> bool:
        """Whether the method was asked for this sample and has no face to show for it."""
        return self in (SampleStatus.GENERATION_ERROR, SampleStatus.UNDECODABLE, SampleStatus.NO_FACE)

    @property
    def is_trial(self) -> bool:
        """Whether the sample counts in a rate: it is good or it failed.

        >>> [status.value for status in SampleStatus if not status.is_trial]
        ['unavailable', 'reference_failed']
        """
        return self is SampleStatus.OK or self.is_failure


class ViewStatus(StrEnum):
    """Why a good sample has no view or no feature; `OK` where it has one."""

    OK = "ok"
    NO_LANDMARKS = "no_landmarks"
    NO_CROP = "no_crop"
    EMPTY_MASK = "empty_mask"
    NOT_READ = "not_read"
    NOT_FINITE = "not_finite"
