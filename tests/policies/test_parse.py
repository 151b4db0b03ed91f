"""Policies as text: what is read, what is refused, and what the refusal says."""

from __future__ import annotations

import math

import pytest

from trimtab import TrimtabError
from trimtab.policies import POLICIES, PolicyError, clip_global_norm, clip_value, compose, parse_policy

NEEDS_A_NUMBER = {"clip=value", "clip=tensor"}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_read_back_from_its_text(name: str) -> None:
    policy = parse_policy(f"{name}:0.5" if name in NEEDS_A_NUMBER else name)
    assert policy.name == name
    assert parse_policy(policy.text) == policy


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clip=global", "clip=global:1"),
        (" clip=global:2.5 ", "clip=global:2.5"),
        ("clip=global:max_norm=2,epsilon=0", "clip=global:2,epsilon=0"),
        ("clip=zclip:2.5,alpha=0.97", "clip=zclip:2.5"),
        ("skip=spike:patience=4", "skip=spike:6,patience=4"),
        ("clip=value:1e-3", "clip=value:0.001"),
        ("skip=nonfinite", "skip=nonfinite"),
    ],
)
def test_text_shows_what_was_set(text: str, shown: str) -> None:
    assert parse_policy(text).text == shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clip=globl:1", "no policy is called 'clip=globl'; did you mean `clip=global`?; allowed are clip=global,"),
        ("global:1", "did you mean `clip=global`?"),
        ("nonsense", "no policy is called 'nonsense'; allowed are clip=global, clip=value,"),
        ("", "no policy is called ''; allowed are"),
        ("clip=value", "`clip=value` lacks max_value, which has no default; give it, as `clip=value:0.5`"),
        ("clip=global:x", "`clip=global`: max_norm must be a number, got 'x'"),
        ("clip=global:", "max_norm must be a number, got nothing"),
        ("clip=global:0", "`clip=global:0`: max_norm must be a number from 1e-18 to 1e+18, got max_norm=0.0"),
        ("clip=global:-1", "got max_norm=-1.0"),
        ("clip=global:nan", "got max_norm=nan"),
        ("clip=global:inf", "got max_norm=inf"),
        ("clip=global:1,epsilon=-1", "epsilon must be 0 or a number from 1e-18 to 1e+18, got epsilon=-1.0"),
        ("clip=global:1,2", "`clip=global` has no setting '2'; it has max_norm=NUMBER, epsilon=NUMBER"),
        ("clip=global:norm=1", "has no setting 'norm=1'"),
        ("clip=global:1,max_norm=2", "`clip=global` is given max_norm twice"),
        ("clip=autoclip:101", "percentile must be above 0 and at most 100, got percentile=101.0"),
        ("clip=autoclip:10,window=1e9", "window must be a whole number from 1 to 10000, got window=1000000000.0"),
        ("clip=zclip:2.5,alpha=1", "alpha must be a number between 0 and 1, got alpha=1.0"),
        ("clip=zclip:2.5,warm_up=2.5", "warm_up must be a whole number from 2 to 10000, got warm_up=2.5"),
        ("skip=spike:6,window=nan", "window must be a whole number from 5 to 10000, got window=nan"),
        ("skip=nonfinite:3", "`skip=nonfinite` has no settings, got '3'; write `skip=nonfinite`"),
    ],
)
def test_what_is_refused_and_why(text: str, says: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy(text)
    assert says in str(error.value)
    assert isinstance(error.value, TrimtabError)


@pytest.mark.parametrize("value", ["1.0", None, True, [1.0], math.nan, -0.0, 10**40])
def test_settings_from_python_are_checked_too(value: object) -> None:
    for make in (clip_global_norm, clip_value):
        with pytest.raises(PolicyError, match="must be a number from 1e-18"):
            make(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["clip=global:1", "clip=global:2"], "the same policy twice"),
        (["clip=global:1", "gradient=normalised"], "gradient=normalised undoes; leave out clip=global"),
        (["clip=agc", "gradient=sign"], "gradient=sign undoes; leave out clip=agc"),
        (["clip=global:1", "skip=spike"], "which clip=global has evened out; put skip=spike first"),
        (["gradient=sign", "clip=zclip"], "which gradient=sign has evened out; put clip=zclip first"),
        ([], "give at least one"),
    ],
)
def test_orders_that_make_no_sense_are_refused(texts: list[str], says: str) -> None:
    with pytest.raises(PolicyError) as error:
        compose(*map(parse_policy, texts))
    assert says in str(error.value)


@pytest.mark.parametrize(
    "texts",
    [
        ["skip=nonfinite", "skip=spike", "clip=global:1"],
        ["clip=zclip", "clip=global:1"],
        ["clip=agc", "gradient=normalised"],
        ["gradient=centralised", "gradient=sign"],
        ["clip=global:1", "skip=nonfinite"],
    ],
)
def test_orders_that_make_sense_compose(texts: list[str]) -> None:
    assert compose(*map(parse_policy, texts)).text == " ".join(parse_policy(text).text for text in texts)


def test_a_composition_within_another_is_looked_through() -> None:
    inner = compose(parse_policy("clip=global:1"))
    with pytest.raises(PolicyError, match="the same policy twice"):
        compose(inner, parse_policy("clip=global:1"))
    assert [part.name for part in compose(inner, parse_policy("clip=value:1")).parts] == ["clip=global", "clip=value"]


def test_what_a_policy_undoes_exists() -> None:
    made = [parse_policy(f"{name}:0.5" if name in NEEDS_A_NUMBER else name) for name in POLICIES]
    assert {name for policy in made for name in policy.undoes} < POLICIES.keys()
