"""Run docs/notebook.ipynb in a real kernel, on results that its own command makes.

The kernel is the Python of .venv; Jupyter's packages come from the environment of
requirements-docs.lock, in which this program runs. The first cell of the notebook names the command
that makes the results. Pre-training is short, unless the outputs are saved.

Usage, after `make docs`: python .ci/run_notebook.py [--save]
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs/notebook.ipynb"
COMMAND = re.compile(r"```\n(xlt run .*?)\n```", re.DOTALL)
SHORT = ("--set", "pretraining.step_factor=0.02")
KERNEL = "import sys; sys.path.append({!r}); from ipykernel.kernelapp import main; main()"
"""Program of the kernel. Packages of .venv come first, as in a user's notebook."""


def write_kernel(folder: Path) -> None:
    """Describe the kernel to Jupyter, in a folder of JUPYTER_PATH."""
    program = KERNEL.format(sysconfig.get_path("purelib"))
    argv = [str(ROOT / ".venv/bin/python"), "-c", program, "-f", "{connection_file}"]
    kernel = folder / "kernels/python3"
    kernel.mkdir(parents=True)
    described = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(described), "utf-8")
    os.environ["JUPYTER_PATH"] = str(folder)


def main(save: bool) -> int:
    """Run the command and all cells; 1 if one fails."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    command = COMMAND.search(notebook.cells[0].source)
    assert command, "the first cell names no command"
    words = shlex.split(command[1].replace("\\\n", " "))
    with tempfile.TemporaryDirectory() as folder:
        write_kernel(Path(folder) / "jupyter")
        subprocess.run(
            [ROOT / ".venv/bin/xlt", *words[1:], *([] if save else SHORT)], cwd=folder, check=True
        )
        client = NotebookClient(
            notebook, timeout=300, startup_timeout=300, kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )  # fmt: skip
        try:
            client.execute()
        except CellExecutionError as error:
            print(error)
            return 1
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        cell.metadata.pop("execution", None)  # times
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    if save:
        nbformat.write(notebook, NOTEBOOK)
    print(f"notebook: {len(code)} cells ran")
    return 0


if __name__ == "__main__":
    raise SystemExit(main("--save" in sys.argv[1:]))
