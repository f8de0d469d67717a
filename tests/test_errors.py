"""Each exception is also the builtin that a caller would expect."""

import pytest

from jwnb import errors


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.InputError, ValueError),
        (errors.MissingFileError, FileNotFoundError),
        (errors.ParameterError, ValueError),
        (errors.MissingReferenceError, LookupError),
        (errors.WrongExposureError, TypeError),
        (errors.FrameScopeError, ValueError),
        (errors.CatalogServiceError, ConnectionError),
        (errors.NoScienceDataError, ValueError),
        (errors.CalibrationWarning, UserWarning),
    ],
)
def test_kinds(error, builtin):
    assert issubclass(error, builtin)
    assert error is errors.CalibrationWarning or issubclass(error, errors.JwnbError)
