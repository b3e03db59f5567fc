"""A clock that a test sets, for commands of their own: a library that is loaded before all others (`LD_PRELOAD`)."""

import shutil
import subprocess
from pathlib import Path

import pytest


class SetClock:
    """Adds seconds to the clock of the commands that get its environment, from now on also of those that run."""

    def __init__(self, folder: Path) -> None:
        """Compile the library, where the machine has a compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("this machine has no C compiler to make a clock with")
        self._library, self._file = folder / "clock.so", folder / "clock"
        source = Path(__file__).with_name("clock.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", self._library, source, "-ldl"], check=True)
        self.move(0)

    def move(self, seconds: float) -> None:
        """Let the clock be so far ahead of the machine's; behind it where that is less than nothing."""
        self._file.write_text(str(int(seconds)))

    @property
    def environ(self) -> dict[str, str]:
        """What a command's environment must hold besides."""
        return {"LD_PRELOAD": str(self._library), "TEST_CLOCK_FILE": str(self._file)}
