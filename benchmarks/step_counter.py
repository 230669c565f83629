"""A counter of the optimiser steps of all processes, for benchmarks/chaos.py."""

from __future__ import annotations

from pathlib import Path

COUNTER = '''
"""Imported by every Python of the benchmark: counts optimiser steps, a byte each."""
import importlib.abc, importlib.util, os, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "xlt.trainables.training.loop":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            module.fit = counted(module.fit)
        spec.loader.exec_module = exec_module
        return spec

def counted(fit):
    file = os.open(os.environ["XLT_STEPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    def counting(steps, gradients):
        def stepped(batch):
            loss = gradients(batch)
            os.write(file, b".")
            return loss
        return fit(steps, stepped)
    return counting

sys.meta_path.insert(0, Finder())
'''


def write_counter(folder: Path) -> Path:
    """Write :data:`COUNTER` to a folder; every Python with it on its path imports it at start."""
    (folder / "counter").mkdir()
    (folder / "counter" / "sitecustomize.py").write_text(COUNTER)
    return folder / "counter"
