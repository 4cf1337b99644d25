"""Messages that stay one line of a terminal, whatever a user wrote into them."""

LONGEST = 700  # characters; what is longer loses its middle


def one_line(text: str) -> str:
    """The text without line breaks or control characters, and with its middle left out if long."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    if len(shown) <= LONGEST:
        return shown
    half = LONGEST // 2 - 2
    return f"{shown[:half]} … {shown[-half:]}"
