"""``python -m scanner``: the same program as ``modelscan`` and ``latentscan``."""

from scanner.cli.main import main

main()
