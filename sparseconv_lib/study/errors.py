"""The base of errors whose message says all: what is wrong, and the remedy, in one line."""


class OneLineError(Exception):
    """Shown in a notebook as its one line, without the frames in which it arose."""

    def _render_traceback_(self) -> list[str]:  # what IPython asks of an exception
        return [f"{type(self).__name__}: {self}"]
