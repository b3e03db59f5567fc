"""Runs several commands, one after the other, in one process: `python -m tests.harness.several`.

For what depends on how Python starts, which takes a second each time. The commands come as JSON on standard input;
how each of them ended and what it printed goes as JSON to standard output.
"""

import json
import sys

from tests.running import run


def main() -> None:
    """Run the commands."""
    ended = []
    for words in json.load(sys.stdin):
        result = run(*words)
        ended.append([result.exit_code, result.output])
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
