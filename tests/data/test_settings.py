"""Settings: refused values, their messages, and all problems in one error."""

from __future__ import annotations

from typing import Any, Literal, Self

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlt.data.core.errors import InputError
from xlt.data.core.settings import MAX_INT, Settings


class Inner(Settings):
    rate: float = 0.1
    num: int = 1


class One(Settings):
    kind: Literal["one"]
    x: int = 0


class Two(Settings):
    kind: Literal["two"]
    y: int = 0


class Outer(Settings):
    name: str = "n"
    num: int = pydantic.Field(default=1, gt=0)
    rate: float | None = None
    seeds: tuple[int, ...] = ()
    goal: Literal["inner", "many"] = "inner"  # names of other fields
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    modules: Literal["all"] | tuple[str, ...] = "all"
    either: One | Two | None = None
    nested: dict[str, Any] = pydantic.Field(default={})

    @pydantic.field_validator("nested")
    @classmethod
    def _check(cls, values: dict[str, Any]) -> dict[str, Any]:
        return Inner.parse(values, "here").model_dump() if values else values

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.num == 13:
            raise InputError(["num is unlucky", "name is too"])
        return self


class Strict(Settings):
    needed: int


def errors(values: Any, model: type[Settings] = Outer) -> list[str]:
    with pytest.raises(InputError) as caught:
        model.parse(values, "my.yaml")
    assert caught.value.where == "my.yaml"
    return caught.value.problems


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({"nmae": "x"}, ["unknown key 'nmae'. Did you mean 'name'? Known: either, goal, inner, "
                         "many, modules, name, nested, num, rate, seeds."]),
        ({"inner": {"rat": 1}},
         ["inner: unknown key 'rat'. Did you mean 'rate'? Known: num, rate."]),
        ({"many": [{}, {"nmu": 1}]},
         ["many.1: unknown key 'nmu'. Did you mean 'num'? Known: num, rate."]),
        ({"either": {"kind": "one", "z": 1}}, ["either: unknown key 'z'. Known: kind, x."]),
        ({"either": {"kind": "one", "x": "0"}},
         ["either.x: '0' is text, not a number; write it as 0"]),
        ({"either": {"kind": "three"}},
         ["either.kind: should be 'one' (got 'three'), or should be 'two' (got 'three')"]),
        ({"num": "5e-4"}, ["num: '5e-4' is text, not a number; write it as 0.0005"]),
        ({"rate": "5e-4"}, ["rate: '5e-4' is text, not a number; write it as 0.0005"]),
        ({"inner": {"rate": "1E3"}}, ["inner.rate: '1E3' is text, not a number; write it as 1000"]),
        ({"num": "many"}, ["num: 'many' is text, not a number"]),
        ({"rate": "nan"}, ["rate: 'nan' is text, not a number"]),
        ({"seeds": [0, "1"]}, ["seeds: '1' is text, not a number; write it as 1"]),
        ({"num": True}, ["num: True is true or false, not a number"]),
        ({"num": 0}, ["num: should be greater than 0 (got 0)"]),
        ({"num": 1.5}, ["num: should be a valid integer, got a number with a fractional part "
                        "(got 1.5)"]),
        ({"seeds": 3}, ["seeds: should be a valid tuple (got 3)"]),
        ({"name": False}, ["name: should be a valid string (got False); put it in quotes, because "
                           "YAML reads yes, no, on and off as true and false"]),
        ({"inner": {True: "dev"}}, ["inner: key True is no text; put it in quotes, because YAML "
                                    "reads yes, no, on and off as true and false"]),
        ({"inner": {5: "dev"}}, ["inner: key 5 is no text; put it in quotes"]),
        ({"inner": "x"}, ["inner: should be a mapping of keys to values (got 'x')"]),
        ({"modules": 5}, ["modules: should be 'all' (got 5), or should be a valid tuple (got 5)"]),
        ({"modules": ["a", 5]}, ["modules.1: should be a valid string (got 5)"]),
        ({"nested": {"num": 0.5, "rat": 1}},
         ["nested: here: num: should be a valid integer, got a number with a fractional part "
          "(got 0.5)",
          "nested: here: unknown key 'rat'. Did you mean 'rate'? Known: num, rate."]),
        ({"num": 13}, ["num is unlucky", "name is too"]),
        (["a"], ["should be a mapping of keys to values"]),
    ],
)  # fmt: skip
def test_problems_have_place_value_and_remedy(values: Any, problems: list[str]) -> None:
    assert errors(values) == problems


def test_missing_keys_are_reported() -> None:
    assert errors({}, Strict) == ["needed: is required"]


def test_all_problems_of_a_file_in_one_error() -> None:
    with pytest.raises(InputError) as caught:
        Outer.parse({"num": "x", "inner": {"a": 1}, "seeds": "s", "zzz": 1}, "my.yaml")
    lines = str(caught.value).splitlines()
    assert lines[0] == "my.yaml: 4 problems"
    assert [line[:9] for line in lines[1:]] == ["  - num: ", "  - seeds", "  - inner", "  - unkno"]


def test_settings_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError):
        Outer().num = 2


@given(st.floats(allow_nan=False, allow_infinity=False), st.lists(st.integers(-MAX_INT, MAX_INT)))
def test_numbers_come_back(rate: float, seeds: list[int]) -> None:
    settings = Outer.parse({"rate": rate, "seeds": seeds})
    assert Outer.parse(settings.model_dump(mode="json")) == settings
    assert settings.rate == rate and list(settings.seeds) == seeds


def test_a_secret_in_the_place_of_a_number_is_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        Outer.parse({"num": "s3://AKIAIOSFODNN7:wJalrXUtnFEMI@bucket/r"})
    assert "wJalrXUtnFEMI" not in str(caught.value)
