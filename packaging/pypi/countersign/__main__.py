"""Starts the program that pip has installed with this package."""

import os
import sys
import sysconfig


def program() -> str:
    """Returns the path of the program: next to this package, or where pip puts scripts."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    user = sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))
    for directory in (os.path.join(here, "bin"), sysconfig.get_path("scripts"), user):
        path = os.path.join(directory, "countersign")
        if os.access(path, os.X_OK):
            return path
    sys.exit("countersign: the program is not where pip installs scripts; install the package again")


if __name__ == "__main__":
    path = program()
    os.execv(path, [path, *sys.argv[1:]])
