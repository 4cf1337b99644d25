"""`python -m sparseconv_lib`: the command `sparseconv`."""

from sparseconv_lib.study.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
