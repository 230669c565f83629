"""Plug-ins that are broken: each is named on stderr, and left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugins import forget_plugins, write_plugin

from xlt.data.core.registries import Registry

GROUP = "xlt.numbers"


@pytest.fixture
def registry() -> Registry[int]:
    def check(name: str, entry: object) -> str:
        return "" if isinstance(entry, int) else "it is no number"

    return Registry(GROUP, {"zero": 0}, check)


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_plugins()


def test_a_plugin_is_listed_after_our_own(tmp_path: Path, registry: Registry[int]) -> None:
    write_plugin(tmp_path, GROUP, "seven", "seven_module:VALUE", "VALUE = 7", "seven")
    assert "seven" in registry and registry["seven"] == 7
    assert list(registry) == ["zero", "seven"] and len(registry) == 2
    assert registry.own == {"zero": 0}


def test_our_own_names_are_looked_up_without_plugins(
    tmp_path: Path, registry: Registry[int], capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(tmp_path, GROUP, "bad", "bad_module:VALUE", "1 / 0", "bad")
    assert "zero" in registry and registry["zero"] == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "target", "code", "reason"),
    [
        ("x", "broken_a:VALUE", "import no_such_module", "ModuleNotFoundError: No module named"),
        ("x", "broken_b:VALUE", "1 / 0", "ZeroDivisionError: division by zero"),
        ("x", "broken_c:VALUE", "raise SystemExit(3)", "SystemExit: 3"),
        ("x", "broken_d:VALUE", "OTHER = 1", "AttributeError: module 'broken_d' has no attribute"),
        ("x", "broken_e:VALUE", "VALUE = 'text'", "it is no number"),
        ("x", "broken_f:VALUE", r"raise ValueError('\x1b[31mred\nsecond')", "ValueError:  [31mred"),
        ("zero", "broken_g:VALUE", "VALUE = 1", "another xlt.numbers has this name"),
        ("../x", "broken_h:VALUE", "VALUE = 1", "its name may have letters, digits, - and _ only"),
    ],
)
def test_a_broken_plugin_is_named_and_left_out(
    tmp_path: Path, registry: Registry[int], capsys: pytest.CaptureFixture[str],
    name: str, target: str, code: str, reason: str,
) -> None:  # fmt: skip
    write_plugin(tmp_path, GROUP, name, target, code, "some-package")
    write_plugin(tmp_path, GROUP, "seven", "seven_module:VALUE", "VALUE = 7", "the-next")
    assert list(registry) == ["zero", "seven"] and registry["zero"] == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"plug-in {name!r} of some-package 0.1 (xlt.numbers) is left out: {reason}"
    )


def test_of_two_plugins_with_one_name_the_first_is_used(
    tmp_path: Path, registry: Registry[int], capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(tmp_path, GROUP, "same", "module_b:VALUE", "VALUE = 2", "b-package")
    write_plugin(tmp_path, GROUP, "same", "module_a:VALUE", "VALUE = 1", "a-package")
    assert dict(registry) == {"zero": 0, "same": 1}
    assert "of b-package 0.1 (xlt.numbers) is left out" in capsys.readouterr().err
