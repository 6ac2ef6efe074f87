"""What the page says of translators that are not the published form of their method."""

from types import SimpleNamespace

from reports.shortfalls import _variant_shortfalls


def shortfalls(settings: dict[str, object]) -> list[str]:
    params = {"translators": {"made": {"method": "lssl", "settings": settings}, "refused": {"method": "lssl"}}}
    return _variant_shortfalls(SimpleNamespace(inputs=SimpleNamespace(params=params), scores={"made": {}}))


def test_a_translator_says_in_what_it_differs_from_its_method() -> None:
    assert shortfalls({"warm_start_share": 0, "output": "picture"}) == []
    (warm,) = shortfalls({"warm_start_share": 0.64})
    assert warm.startswith("made is not lssl as it was published: for 64 % of the steps")
    (flow,) = shortfalls({"warm_start_share": 0.64, "output": "flow"})
    assert "moves its pixels" in flow and "64 %" in flow
