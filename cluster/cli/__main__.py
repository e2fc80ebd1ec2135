"""`python -m cluster.cli` is `voxray`."""

from cluster.cli import main

main()
