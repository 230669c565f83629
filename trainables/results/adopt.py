"""Adopt a folder that holds trials but lost its marker, e.g. one that was copied in parts."""

from __future__ import annotations

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few
from xlt.trainables.results.layout import FOLDERS, MARKER
from xlt.trainables.results.result import Results


def adopt_results(results: Results) -> None:
    """Mark a folder as a results location if its trials verify; a marked one stays as it is.

    A damaged trial among them is treated as in every results location: it runs again.

    Raises:
        InputError: The folder holds files of somebody else, or no finished trial.
    """
    if results.exists(MARKER):
        return
    problem = ""
    if others := results.list_content() - {*FOLDERS}:
        problem = f"it also holds {first_few(sorted(others))}; move these files elsewhere"
    elif not any(s.state == "done" for s in results.states(results.trial_ids()).values()):
        problem = "no trial in it is finished and undamaged; give another --results"
    if problem:
        raise InputError(f"results location {results.uri!r} cannot be adopted: {problem}")
    results.write_marker()
