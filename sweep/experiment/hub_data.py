"""The data set of the hub that an experiment in a results location was run on."""

from __future__ import annotations

from pathlib import Path

from xlt.data.sources.hub.presets import PRESETS
from xlt.sweep.experiment.yaml_text import parse_yaml
from xlt.trainables.results.result import Results


def find_hub_data(location: Results, experiment: str) -> tuple[str, str | None] | None:
    """Find the hub id and the revision of an experiment's data set; None: it is from elsewhere."""
    as_run = location.read_experiment(experiment)
    values = (parse_yaml(as_run[0]) or {}).get("data") if as_run else None
    if not isinstance(values, dict) or values.get("source") != "hub":
        return None
    preset = PRESETS.get(str(values.get("preset")), {})
    name = str(values.get("dataset") or preset.get("dataset", ""))
    is_id = name.count("/") == 1 and name[0].isalnum() and not Path(name).exists()
    revision = values.get("revision")
    return (name, revision and str(revision)) if is_id else None
