"""Writes the results of a run as lines of JSON on standard output; ../README.md has the keys."""

import json
import sys
import traceback


class Skip(Exception):
    """The reason why a step does not apply to this version."""


class Report:
    def __init__(self, library, version):
        self._names = {"library": library, "version": version}
        self.failed = False

    def step(self, name):
        """Runs the function that it decorates as a step, at once.

        The function returns the detail of its success, or a dictionary with that and
        further keys of the line, or nothing. A failure does not end the run: later steps
        give more information.
        """

        def run(function):
            outcome = {**self._names, "step": name, "ok": True, "detail": ""}
            try:
                said = function()
                if isinstance(said, dict):
                    outcome.update(said)
                elif said is not None:
                    outcome["detail"] = said
            except Skip as why:
                outcome.update(skipped=True, detail=str(why))
            except Exception as error:
                self.failed = True
                outcome.update(ok=False, detail=explain(error))
            emit(outcome)

        return run

    def secrets(self, *values):
        """Reports values that no log may contain."""
        emit({"secrets": values})


def emit(line):
    json.dump(line, sys.stdout)
    sys.stdout.write("\n")
    sys.stdout.flush()


def explain(error):
    """Describes an exception: its place, and the attributes that a library added."""
    return "".join(traceback.format_exception(error)) + repr(vars(error))
