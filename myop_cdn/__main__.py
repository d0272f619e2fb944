"""`python -m myop_cdn` and the installed `myop-cdn`."""

from __future__ import annotations


def main() -> None:
    """Run the command line; never returns."""
    from myop_cdn.cli import cli

    cli(prog_name="myop-cdn")


if __name__ == "__main__":
    main()
