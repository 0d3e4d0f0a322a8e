"""`python -m lorakit` is `lorakit`."""

from lorakit.cli import main

main()
