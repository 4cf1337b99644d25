"""The error of every data set."""

from sparseconv_lib.study.errors import OneLineError


class DataError(OneLineError, RuntimeError):
    """A data file is missing or broken; the message says what was tried and what to do."""
