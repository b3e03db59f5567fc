"""`python -m ruma` is the `ruma` command."""

from ruma.cli.main import main

main()
