"""xlt lit without LIT: exports of real trials, the environment, the server as a child process."""

from __future__ import annotations

import io
import json
import shutil
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.lit import environment
from xlt.sweep.lit.environment import MARKER, install, join_last_lines
from xlt.sweep.lit.server import serve
from xlt.sweep.run import run_sweep
from xlt.trainables.results.attributions import read_attributions
from xlt.trainables.results.result import Results

SETTINGS = ["patterns=[{ja8: {source_rows: 24}}]", "seeds=[0]"]
EXPLAIN = "explain={method: lime, num_samples: 30, rows: 5}"


@pytest.fixture(scope="module")
def explained(tmp_path_factory: Any, experiment_file: Path) -> str:
    """Three trials; five test rows of each are explained."""
    results = str(tmp_path_factory.mktemp("lit") / "results")
    experiment = load_experiment(experiment_file, [*SETTINGS, EXPLAIN])
    run_sweep(experiment, results, backend="inline", console=Console(file=io.StringIO()))
    return results


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_export_of_real_trials(
    explained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["lit", "export", explained, "--only", "model=llama", "--out", str(out)]) == 0
    assert "1 trials, 1 of them explained by lime" in capsys.readouterr().out
    (model,) = json.loads((out / "lit.json").read_text("utf-8"))["models"]
    assert model["name"] == "llama ja8 seed 0" and model["settings"]["num_samples"] == 30
    rows = rows_of(out / model["file"])
    test_rows = collect(explained).predictions.of(model["trial_id"])
    assert [row["id"] for row in rows] == list(test_rows.ids)
    assert [row["probabilities"][1] for row in rows] == test_rows.y_score.tolist()
    table = read_attributions(Results(explained), model["trial_id"], "lime").table
    assert table is not None
    stored = {row["id"]: (row["pieces"], row["coefficients"]) for row in table.to_pylist()}
    told = {row["id"]: (row["tokens"], row["salience"]) for row in rows if row["tokens"]}
    assert told == stored and len(stored) == 5
    texts = {row["id"]: row["text"] for row in rows_of(out / "headlines-ja.jsonl")}
    assert {row["id"]: row["text"] for row in table.to_pylist()}.items() <= texts.items()
    assert len(texts) == 20


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "model=lama"], "Did you mean 'llama'?"),
        (["--seeds", "0,x"], "'0,x' is no list of seeds"),
        (["--seeds", "4"], "no seed 4. Known: 0."),
        (["--method", "lima"], "lime"),
    ],
)
def test_export_errors(
    explained: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    assert main(["lit", "export", explained, "--out", str(tmp_path / "out"), *arguments]) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "out").exists()


def fake_python(file: Path, program: str) -> None:
    """A program in the place of Python, which gets Python's arguments as sys.argv."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!{sys.executable}\nimport sys\n{program}")
    file.chmod(0o755)


def fake_environment(folder: Path, program: str) -> Path:
    fake_python(folder / "bin" / "python", program)
    (folder / MARKER).write_text(environment._digest())
    return folder


ANSWERS = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'{"models": {}}')
    def log_message(self, *args): pass
assert sys.argv[1:3] == ["-I", "-c"] and sys.argv[4].endswith("lit"), sys.argv
HTTPServer((sys.argv[6], int(sys.argv[7])), Handler).serve_forever()
"""


@pytest.fixture
def export(explained: str, tmp_path: Path) -> Path:
    out = tmp_path / "export"
    assert main(["lit", "export", explained, "--out", str(out)]) == 0
    return out


def test_serves_while_it_lasts(export: Path, tmp_path: Path) -> None:
    lit = fake_environment(tmp_path / "lit", ANSWERS)
    with serve(export, lit, "127.0.0.1", 0) as server:
        root, _, shown = server.url.partition("?")
        request = urllib.request.Request(f"{root}get_info", method="POST")
        assert json.load(urllib.request.urlopen(request)) == {"models": {}}
    names = ["llama+ja8+seed+0", "gpt_neox+ja8+seed+0", "bert+ja8+seed+0"]
    assert shown == "models=" + ",".join(names)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(request)


ASKS = """
from multiprocessing.connection import Connection
asked = Connection(int(sys.argv[8]))
asked.send_bytes("炭素".encode())
answer = asked.recv_bytes()
""" + ANSWERS.replace("b'{\"models\": {}}'", "answer")


def test_answers_what_the_viewer_asks(export: Path, tmp_path: Path) -> None:
    lit = fake_environment(tmp_path / "lit", ASKS)
    with serve(export, lit, "127.0.0.1", 0, lambda b: json.dumps(b.decode()).encode()) as server:
        request = urllib.request.Request(server.url.partition("?")[0], method="POST")
        assert json.load(urllib.request.urlopen(request)) == "炭素"


def test_live_needs_models(
    explained: str, export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lit = fake_environment(tmp_path / "lit", ANSWERS)
    assert main(["lit", "serve", str(export), "--env", str(lit), "--live"]) == 2
    assert "is an export and holds no models" in capsys.readouterr().err
    assert main(["lit", "serve", explained, "--env", str(lit), "--live"]) == 2
    told = capsys.readouterr().err
    assert "--live: 3 problems" in told and "kept no model" in told
    assert told.count("keep_models=adapters") == 2 and told.count("keep_models=all") == 1


def test_a_process_that_ends_early_is_quoted(export: Path, tmp_path: Path) -> None:
    lit = fake_environment(tmp_path / "lit", "print('line'); sys.exit('no such font')")
    with (
        pytest.raises(InputError, match=r"ended with status 1: line \| no such font"),
        serve(export, lit, "127.0.0.1", 0),
    ):
        pass
    ends_later = ANSWERS.replace(".serve_forever()", ".handle_request()")
    later = fake_environment(tmp_path / "later", ends_later)
    with serve(export, later, "127.0.0.1", 0) as server, pytest.raises(InputError, match="ended"):
        server.wait()


def test_a_port_that_is_taken(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lit = fake_environment(tmp_path / "lit", ANSWERS)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ["lit", "serve", str(export), "--env", str(lit), "--port", str(port)]
        assert main(arguments) == 2
    assert f"cannot listen on port {port} of 127.0.0.1" in capsys.readouterr().err
    assert main(["lit", "serve", str(export), "--env", str(lit), "--port", "99999"]) == 2
    assert main(["lit", "serve", str(export), "--env", str(lit), "--host", "no host"]) == 2
    assert capsys.readouterr().err.count("give another --port") == 2


def test_no_environment_or_an_old_one(
    explained: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "cache"))
    assert main(["lit", "serve", explained]) == 2
    told = f"no environment of LIT in {tmp_path / 'cache' / 'lit'}; `xlt lit install` creates it"
    assert told in capsys.readouterr().err
    lit = fake_environment(tmp_path / "lit", ANSWERS)
    (lit / MARKER).write_text("0" * 64)
    assert main(["lit", "serve", explained, "--env", str(lit)]) == 2
    assert f"`xlt lit install --env {lit}` repairs it" in capsys.readouterr().err


def test_an_export_is_shown_as_it_is(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lit = fake_environment(tmp_path / "lit", ANSWERS)
    arguments = ["lit", "serve", str(export), "--env", str(lit), "--seeds", "0"]
    assert main(arguments) == 2
    assert "is an export, which is shown as a whole" in capsys.readouterr().err


def test_install_refuses(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    own = tmp_path / "other" / "pyvenv.cfg"  # an environment, but not ours to clear
    own.write_text("home = /usr")
    for folder in (own.parent, own):
        with pytest.raises(InputError, match="holds other files"):
            install(folder)
    assert own.exists()
    with pytest.raises(InputError, match="cannot be started"):
        install(tmp_path / "lit", str(tmp_path / "python"))
    fake_python(tmp_path / "new", "print('3.14')")
    with pytest.raises(InputError, match=r"is Python 3\.14; LIT needs 3\.11 or 3\.12"):
        install(tmp_path / "lit", str(tmp_path / "new"))
    assert not (tmp_path / "lit").exists()


MAKES = """
import pathlib, shutil
if sys.argv[1] == "-c": print("3.11")
else:
    own = pathlib.Path(sys.argv[-1]) / "bin" / "python"
    own.parent.mkdir(parents=True); (own.parent.parent / "pyvenv.cfg").touch()
    shutil.copy("OWN", own)
"""


def test_install_ends_with_the_marker_or_not_at_all(tmp_path: Path) -> None:
    own, maker, folder = tmp_path / "own", tmp_path / "maker", tmp_path / "lit"
    fake_python(maker, MAKES.replace("OWN", str(own)))
    fake_python(own, "sys.exit('no such package' if 'pip' in sys.argv else 0)")
    with pytest.raises(InputError, match="pip install failed: no such package"):
        install(folder, str(maker))
    with pytest.raises(InputError, match="is incomplete or has other versions"):
        environment.check(folder)
    shutil.rmtree(folder)
    fake_python(own, "assert 'pip' not in sys.argv or '--no-deps' in sys.argv")
    told: list[str] = []
    assert install(folder, str(maker), told.append) and len(told) == 2
    environment.check(folder)
    assert not install(folder, str(maker))  # there already


def test_last_lines() -> None:
    assert join_last_lines("") == "it printed nothing"
    assert join_last_lines("\n".join("abcdefg")) == "c | d | e | f | g"


def test_pins_are_exact_and_name_no_index() -> None:
    for line in environment._pins().read_text().splitlines():
        name, equals, version = line.partition("==")
        assert equals and name and version and "/" not in line and " " not in line
