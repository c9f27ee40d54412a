"""`python -m s2f_edge` is `s2f-edge`."""

from s2f_edge.cli.main import main

main()
