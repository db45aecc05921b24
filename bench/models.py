"""Our models and those of others on the same records: `python -m bench.models`.

Writes the tables and pictures of docs/models.md. What a picker finds is kept in the folder of
--work under the hash of its artefact, so that only what is new has to be gone through again.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, this one would stand in the way of the package `models`.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from bench.evidence.run import main

    sys.exit(main(__doc__))
