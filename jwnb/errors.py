"""Exceptions and warnings, each also a kind of the builtin that a caller would expect."""

__all__ = [
    "CalibrationWarning",
    "CatalogServiceError",
    "FrameScopeError",
    "InputError",
    "JwnbError",
    "MissingFileError",
    "MissingReferenceError",
    "NoScienceDataError",
    "ParameterError",
    "WrongExposureError",
]


class JwnbError(Exception):
    """Base of every error that jwnb raises on purpose."""


class InputError(JwnbError, ValueError):
    """A file or a model cannot be used: unreadable, truncated, or lacking what the step needs."""


class MissingFileError(JwnbError, FileNotFoundError):
    """A file that was named does not exist."""


class NoScienceDataError(JwnbError, ValueError):
    """The exposure holds nothing that the pipeline could make a product of; the command line exits with 64."""


class ParameterError(JwnbError, ValueError):
    """An unknown step or option, or a value out of its range."""


class MissingReferenceError(JwnbError, LookupError):
    """A reference file that should exist was not found, or does not fit the exposure."""


class CatalogServiceError(JwnbError, ConnectionError):
    """The archive's catalogue service gave no stars: not reached, too late, an error, nonsense, or nothing there."""


class WrongExposureError(JwnbError, TypeError):
    """A step or pipeline was called on an exposure or product that it is not for."""


class FrameScopeError(JwnbError, ValueError):
    """A step needs the whole exposure and was given a piece of one."""


class CalibrationWarning(UserWarning):
    """The result is there but degraded; the ledger says how."""
