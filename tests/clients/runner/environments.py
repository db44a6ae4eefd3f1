"""The Python environments that scripts/setup makes in the user's cache folder."""
import os
import sys
from pathlib import Path


def python(name):
    """The interpreter of an environment; None where it is not installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = cache / "staffa" / name / "bin" / "python"
    return found if found.exists() else None


def sources(package):
    """The unpacked source archive of a package, which has its tests."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "staffa" / "sources" / package


def use(name, program):
    """Goes on in that environment's interpreter."""
    wanted = python(name)
    if wanted is None:
        sys.exit(f"the environment {name} is missing: run scripts/setup clients")
    if Path(sys.prefix) != wanted.parent.parent:
        os.execv(wanted, [str(wanted), program, *sys.argv[1:]])
