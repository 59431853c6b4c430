"""Exceptions for all errors that a user can cause and fix."""

import errno


def is_full_disk(error: OSError) -> bool:
    """Return whether the disk or the user's quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class CaptionerError(Exception):
    """Base of the errors below; the message says what was wrong, where, and what to do."""


class ImageError(CaptionerError):
    """A photo cannot be read: missing, empty, truncated, too large, or not an image."""


class NotAnImage(ImageError):
    """The input is not an image, or in an unsupported format."""


class ImageTooLarge(ImageError):
    """A photo has more pixels than the limit."""


class BundleError(CaptionerError):
    """A bundle on disk is incomplete, damaged, or of an unknown version."""


class ConfigError(CaptionerError):
    """An option has an invalid value, or conflicts with another option."""


class DataError(CaptionerError):
    """A captioned data set cannot be read, or has nothing to learn from."""


class WeightsError(CaptionerError):
    """The pretrained weights of an encoder are missing, cannot be fetched, or do not fit."""


class TextError(CaptionerError):
    """A text cannot be translated: empty, too long, or in another language."""
