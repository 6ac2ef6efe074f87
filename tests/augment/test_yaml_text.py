"""params.yaml as somebody spoilt it by hand: every way ends in an error that names the line, never in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from augment.core.errors import InputError
from augment.core.yaml_text import parse_yaml
from pipeline.parameters.whole import load_parameters

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
SPOILT = {
    "impossible date": ("a: 1\nseed: !!timestamp 2026-13-45", "line 2: '2026-13-45' can't be read as timestamp"),
    "number of 5,000 digits": ("seed: " + "9" * 5000, "line 1: 9999999999... is a number of 5,000 characters"),
    "hexadecimal number": ("seed: 0x" + "f" * 5000, "is a number of 5,002 characters"),
    "number to the base of 60": ("seed: 1" + ":59" * 3000, "is a number of 9,001 characters"),
    "2,000 levels in brackets": ("seed: " + "[" * 2000 + "]" * 2000, "line 1: is nested more than 50 levels deep"),
    "2,000 levels in lines": ("".join(" " * level + "a:\n" for level in range(1000)), "more than 50 levels deep"),
    "key twice": ("seed: 0\nseeds: [0]\nseed: 1", "line 3: the key 'seed' occurs twice, here and in line 1: keep one"),
    "key twice further in": ("a:\n  b: 1\n  b: 1", "line 3: the key 'b' occurs twice, here and in line 2"),
    "not a number": ("seed: .nan", "line 1: nan is not a finite number"),
    "infinity": ("seed: -.inf", "line 1: -inf is not a finite number"),
    "wrong tag": ("seed: !!bool maybe", "line 1: 'maybe' can't be read as bool"),
    "object of Python": ("seed: !!python/object/apply:os.getcwd []", "could not determine a constructor for the tag"),
    "alias of itself": ("a: &a [*a]", "an alias contains itself"),
    "aliases that multiply": (BOMB, "contains more than 100,000 values once its aliases are expanded"),
    "no alias": ("seed: *nothing", "undefined alias"),
    "list as key": ("? [a, b]\n: 1", "unhashable key"),
    "half a character": ('report: {title: "\\ud800"}', "line 1: '\\ud800' contains half of a surrogate pair"),
    "two documents": ("seed: 0\n---\nseed: 1", "another document"),
    "very long": ("x" * 2_000_000, "has 2,000,000 characters"),
}


@pytest.mark.parametrize(("text", "named"), SPOILT.values(), ids=SPOILT)
def test_spoilt_parameters_are_refused_with_the_line(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_parameters(file)
    assert str(error.value).startswith("params.yaml") and named in str(error.value)


def test_what_is_not_spoilt_is_read() -> None:
    text = (
        "common: &common {steps: 1, rate: 1.0e-3}\none:\n  <<: *common\n  steps: 2\ntwo: *common\n"
        "day: 2026-13-45\ndeep: [[[[[[1]]]]]]\nname: null\nyes_or_no: yes\n"
    )
    assert parse_yaml(text, "x") == {
        "common": {"steps": 1, "rate": 0.001},
        "one": {"steps": 2, "rate": 0.001},
        "two": {"steps": 1, "rate": 0.001},
        "day": "2026-13-45",
        "deep": [[[[[[1]]]]]],
        "name": None,
        "yes_or_no": True,
    }


@pytest.mark.parametrize("kind", ["folder", "bytes"])
def test_what_is_no_text_is_refused(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "params.yaml"
    file.mkdir() if kind == "folder" else file.write_bytes(b"seed: \xff\xfe")
    with pytest.raises(InputError, match=r"params\.yaml: (can't be read|is not UTF-8)"):
        load_parameters(file)
