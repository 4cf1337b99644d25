"""`python -m sparseconv_lib`: the command `sparseconv`."""

import sys


def main() -> int:
    """Runs `study.cli`, or says what to install where the library was installed alone."""
    try:
        from sparseconv_lib.study import cli

        return cli.main()
    except ModuleNotFoundError as error:
        if (error.name or __package__).startswith(__package__):  # a fault of our own
            raise
        print(
            f"sparseconv: {error.name} is not installed; the command needs more than the library: "
            "pip install '.[study]', in the repository",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
