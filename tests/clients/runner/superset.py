"""Superset without a browser, in an environment and a folder of its own."""
import os
import shutil
import subprocess
from pathlib import Path

import environments
import programs

CLIENTS = Path(__file__).resolve().parent.parent


def run(servers, work, only):
    python = environments.python("superset-venv")
    assert python, "the environment superset-venv is missing: run scripts/setup clients"
    prepared = work / "prepared"
    prepared.mkdir()
    prepare(python.parent, prepared)
    found = []
    for name, url in zip(("postgres", "staffa"), servers.each()):
        home = work / name
        shutil.copytree(prepared, home)
        found.append(programs.lines([str(python), str(CLIENTS / "programs" / "superset_calls.py")], url, (), work, settings(home)))
    return programs.side_by_side(*found, only)


def settings(home):
    return {"SUPERSET_CONFIG_PATH": str(CLIENTS / "programs" / "superset_config.py"), "FLASK_APP": "superset", "SUPERSET_HOME": str(home)}


def prepare(binaries, home):
    """Superset's own database, with an administrator."""
    administrator = "--username admin --password admin --firstname a --lastname b --email a@b.c".split()
    for arguments in (["db", "upgrade"], ["fab", "create-admin", *administrator], ["init"]):
        subprocess.run([str(binaries / "superset"), *arguments], check=True, capture_output=True, timeout=900, cwd=home,
                       env={**os.environ, **settings(home)})
