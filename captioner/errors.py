"""What a caller can catch: every error that a person can cause, and can put right."""

import errno


def is_full_disk(error: OSError) -> bool:
    """Whether there was no room, or no more than a person may have."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class CaptionerError(Exception):
    """Base of the errors below; its text says what was wrong, where, and what to do."""


class ImageError(CaptionerError):
    """A photo cannot be read: missing, empty, truncated, too large, or not an image."""


class NotAnImage(ImageError):
    """What was given is no image, or of a format that is not read."""


class ImageTooLarge(ImageError):
    """A photo has more pixels than are read."""


class BundleError(CaptionerError):
    """A bundle on disk is incomplete, damaged, or of a version that this code does not know."""


class ConfigError(CaptionerError):
    """An option has a value that does not exist, or does not fit with another option."""


class DataError(CaptionerError):
    """A captioned data set cannot be read, or holds nothing to learn from."""


class WeightsError(CaptionerError):
    """The pretrained weights of an encoder are missing, cannot be fetched, or do not fit."""
