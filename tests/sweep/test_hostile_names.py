"""Names, texts and errors that hold anything, through every command and format of output."""

from __future__ import annotations

import ast
import csv
import io
import logging
import re
import sys
import xml.dom.minidom
from pathlib import Path

import pytest
from page_results import keep_texts, make_page_results
from repository import ROOT
from result_folders import save_failed
from rich.live import Live
from rich.text import Text

from xlt.data.core.text import plain, plain_line
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.cli.main import main
from xlt.sweep.driver.console import make_console, say
from xlt.sweep.driver.plain_output import plain_output
from xlt.trainables.results.result import Results

MODEL = "=1+1\t[red]$x_1$|<b>&amp;\\%{}~^`*#:smile:\x1b[31m\x9b31m\u202e\r\nx[a](b) \"'" + "n" * 99
PATTERN = "@p$ja_{$|<i>\x1b]8;;http://x\x07[b]"
ERROR = "=boom\x1b]0;title\x07 \u2066 [/red]\nsecond line"
CONTROL = re.compile("[\x00-\x08\v\f\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("odd") / "results"
    made = make_page_results(
        folder, [MODEL, "mbert"], [PATTERN, "ja0"],
        title=f"t {MODEL}", positive=f"p{MODEL}", data_warnings=(f"w {MODEL}",),
    )  # fmt: skip
    keep_texts(Results(made), ["00001", "00002"], "=cmd|' /C calc'!A0\x1b[2J\u202e")
    for seed in (0, 1, 2):
        (path,) = (folder / "trials").glob(f"*mbert-ja0-s{seed}-*/trial.json")
        path.unlink()
        save_failed(Results(made), "mbert", "ja0", seed, ERROR)
    return made


def output(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    status = main(list(command))
    captured = capsys.readouterr()
    assert status == OK, captured.err
    assert not CONTROL.search(captured.err)
    return captured.out


@pytest.mark.parametrize("format", ["text", "md", "latex", "csv"])
@pytest.mark.parametrize("command", ["report", "compare", "curves", "boundary", "claims"])
def test_every_command_prints_plain_text(
    command: str, format: str, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, command, uri, "--format", format)
    assert not CONTROL.search(text)
    if format == "csv":
        rows = list(csv.reader(io.StringIO(text)))
        cells = [cell for row in rows for cell in row]
        assert not any("\n" in cell or "\t" in cell for cell in cells)
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
        if command == "report":
            assert rows[1][:2] == [f"'{plain_line(MODEL)}", f"'{plain(PATTERN)}"]
    elif command == "report":
        row = next(line for line in text.splitlines() if "0.9" in line and "1+1" in line)
        shown = {
            "text": "=1+1 [red]$x_1$|<b>&amp;\\%{}~^`*#:smile: [31m",
            "md": r"| =1+1 [red]\$x\_1\$\|&lt;b&gt;&amp;amp;\\%{}\~^\`\*#:smile: [31m",
            "latex": r"=1+1 {[}red{]}\$x\_1\$$|$$<$b$>$\&amp;\textbackslash{}\%\{\}",
        }
        assert row.startswith(shown[format])


def test_links_of_names_are_no_links_in_markdown(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, "report", uri, "--format", "md")
    assert "](" not in text and "[0/3]" in text


def test_status_and_the_page_are_plain(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not CONTROL.search(output(capsys, "status", uri))
    page = tmp_path / "page.html"
    output(capsys, "report", uri, "--format", "html", "--out", str(page))
    assert not CONTROL.search(page.read_text("utf-8"))
    assert "<b>&amp;amp;" not in page.read_text("utf-8")


@pytest.mark.parametrize("image_format", ["svg", "png"])
def test_figures_show_dollars_and_braces(
    image_format: str, uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("heat-map", "seeds", "scores") if image_format == "svg" else ("scores",)
    arguments = ("--format", image_format, "--kinds", *kinds, "--out", str(tmp_path))
    output(capsys, "figures", uri, *arguments)
    for file in tmp_path.glob("*.svg"):
        text = xml.dom.minidom.parse(str(file)).documentElement
        assert text is not None
        shown = "".join(n.data for e in text.getElementsByTagName("text") for n in e.childNodes)
        if file.name.startswith(("heat-map", "seeds")):
            assert "[red]$x_1$|<b>&amp;\\%{}~^`*#" in shown and "p$ja_{$|<i>" in shown


def test_an_error_of_a_command_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "no\x1b[2Jwhere\u202e"]) == BAD_INPUT
    told = capsys.readouterr().err
    assert not CONTROL.search(told) and r"no\x1b[2Jwhere\u202e" in told
    with pytest.raises(SystemExit):
        main(["report", "a", "b\x1b[2J"])
    assert r"b\x1b[2J" in capsys.readouterr().err


def test_logs_of_a_command_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    with plain_output():
        assert logging.lastResort
        record = logging.LogRecord("x", logging.WARNING, "", 0, "bad \x1b[2J", (), None)
        logging.lastResort.handle(record)
        print("a\tb\nc \udc80")
    captured = capsys.readouterr()
    assert captured.err == "bad \\x1b[2J\n" and captured.out == "a\tb\nc \\udc80\n"
    assert sys.stdout.write("\x1b")  # only inside of a command


def test_a_stream_without_japanese_gets_escapes() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    before, sys.stdout = sys.stdout, stream
    try:
        with plain_output():
            print("日本 a")
    finally:
        sys.stdout = before
    stream.flush()
    assert stream.buffer.getvalue() == b"\\u65e5\\u672c a\n"  # type: ignore[attr-defined]


def test_a_console_keeps_its_own_styles_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with plain_output():
        console = make_console()
        console.print(Text("a\x1b[31m\u202eb", "red"))
        say(console, "[red]:smile: \x1b[2Jc[/red] 12", style="red")
        with Live(console=console, auto_refresh=False) as live:
            live.update(Text("grid \x1b[2J"))
            with plain_output():
                print("during \x1b[2J \x1b]8;;http://x\x07")
            make_console().show_cursor()
    text = stream.getvalue()
    assert r"a\x1b[31m\u202eb" in text and r"[red]:smile: \x1b[2Jc[/red] 12" in text
    assert "\x1b[31m" in text and "\x1b[?25h" in text  # rich's own
    assert r"during \x1b[2J \x1b]8;;http://x\x07" in text and r"grid \x1b[2J" in text
    assert "\x1b[2J" not in text and "\x1b]" not in text and "\u202e" not in text


def test_no_other_console_writes_to_a_terminal() -> None:
    for file in (ROOT / "sweep").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Console":
                assert any(keyword.arg == "file" for keyword in call.keywords), file
