"""The command line as a whole: help with examples, exit statuses, one vocabulary, completion."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from xlt.sweep.backends.registry import BACKENDS
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.cli.main import main
from xlt.sweep.cli.parser import GROUPS, make_parser


def commands_of(
    parser: argparse.ArgumentParser, name: str = "xlt"
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command without commands of its own."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for group in groups:
        for word, command in group.choices.items():
            yield from commands_of(command, f"{name} {word}")


COMMANDS = dict(commands_of(make_parser()))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_that_parse(name: str) -> None:
    *_, examples = COMMANDS[name].format_help().partition("examples:\n")
    lines = examples.splitlines()
    assert lines and all(line.startswith(f"  {name}") for line in lines)
    for line in lines:
        words = shlex.split(line.split(" > ")[0].split(" < ")[0])
        options = make_parser().parse_args(words[1:])
        assert callable(options.command)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_is_described(name: str) -> None:
    for action in COMMANDS[name]._actions:
        assert action.help, f"{name} {action.option_strings or action.dest}"


@pytest.mark.parametrize("module", GROUPS)
def test_one_group_has_its_commands_as_all_groups_have_them(module: str) -> None:
    group = dict(commands_of(make_parser(GROUPS[module][0])))
    assert tuple(dict.fromkeys(name.split()[1] for name in group)) == GROUPS[module]
    for name, parser in group.items():
        assert parser.format_help() == COMMANDS[name].format_help()


@pytest.mark.parametrize("word", ["plam", "--help"])
def test_another_word_meets_all_commands(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([word])
    printed = "".join(capsys.readouterr())
    for names in GROUPS.values():
        assert all(name in printed for name in names)


def test_without_a_command_one_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "arguments are required: COMMAND" in capsys.readouterr().err


def test_backend_and_only_mean_the_same_everywhere() -> None:
    with_backend = {name for name, c in COMMANDS.items() if "--backend" in c._option_string_actions}
    assert {"xlt run", "xlt check", "xlt explain", "xlt predict"} <= with_backend
    for name in with_backend:
        action = COMMANDS[name]._option_string_actions["--backend"]
        assert set(action.choices or ()) == set(BACKENDS) == {"ray", "inline"}
        assert action.type("tune") == "ray"
    for command in COMMANDS.values():
        for action in command._actions:
            if action.dest == "only":
                assert action.metavar == "model=M,pattern=P"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == OK
    script = capsys.readouterr().out
    for name in COMMANDS:
        assert name.split()[1] in script


def test_bash_completes_commands_and_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["completion", "bash"])
    script = tmp_path / "xlt.bash"
    script.write_text(capsys.readouterr().out, "utf-8")

    def completed(*words: str) -> set[str]:
        typed = " ".join(f"'{word}'" for word in ("xlt", *words))
        asked = (
            f"source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; "
            '_shtab_xlt; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert completed("pl") == {"plan"}
    assert completed("run", "--backend", "") == {"ray", "inline"}
    assert completed("data", "sh") == {"show"}


def test_an_unknown_shell_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bsh"]) == BAD_INPUT
    assert "unknown shell 'bsh'. Did you mean 'bash'?" in capsys.readouterr().err
