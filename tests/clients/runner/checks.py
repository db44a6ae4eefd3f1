"""What a suite finds out: one check, and both servers' answers."""
from dataclasses import dataclass


@dataclass
class Check:
    name: str
    agrees: bool
    wanted: str = ""
    got: str = ""


def distinct(names):
    """The names in their order; one that comes again gets a number."""
    seen = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name} #{seen[name]}"
