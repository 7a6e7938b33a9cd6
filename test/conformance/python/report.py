"""What a run found, as lines of JSON on standard output; ../README.md has the keys."""

import json
import sys
import traceback


class Skip(Exception):
    """A step does not apply to this version, and why."""


class Report:
    def __init__(self, library, version):
        self._names = {"library": library, "version": version}
        self.failed = False

    def step(self, name):
        """Runs the function that it decorates as a step, at once.

        The function returns the detail of its success, or a dictionary with that and
        more for the line, or nothing. A failure does not end the run: later steps
        tell more.
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
        """Makes values known that no log may hold."""
        emit({"secrets": values})


def emit(line):
    json.dump(line, sys.stdout)
    sys.stdout.write("\n")
    sys.stdout.flush()


def explain(error):
    """Says what was raised: where, and what a library put into the error."""
    return "".join(traceback.format_exception(error)) + repr(vars(error))
