"""Nodes that have other code than the driver are told as that."""

from __future__ import annotations

from pathlib import Path

import pytest

from xlt.data.core.errors import InputError
from xlt.sweep.on_ray import same_code


@pytest.mark.ray
def test_other_code_is_refused_and_the_same_is_not(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_code.refuse_other_code()
    (tmp_path / "xlt" / "data").mkdir(parents=True)
    (tmp_path / "xlt" / "data" / "schema.py").write_text("COLUMNS = ()\n")
    monkeypatch.setattr(same_code.xlt, "__file__", str(tmp_path / "xlt" / "__init__.py"))
    with pytest.raises(InputError, match=r"import other code of xlt, from .*xlt submit"):
        same_code.refuse_other_code()
