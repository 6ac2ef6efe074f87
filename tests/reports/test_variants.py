"""What the page says of translators that are not the published form of their method, or are one by several names."""

from types import SimpleNamespace

from reports.shortfalls import _repeated_shortfalls, _variant_shortfalls


def shortfalls(settings: dict[str, object]) -> list[str]:
    params = {"translators": {"made": {"method": "lssl", "settings": settings}, "refused": {"method": "lssl"}}}
    return _variant_shortfalls(SimpleNamespace(inputs=SimpleNamespace(params=params), scores={"made": {}}))


def test_a_translator_says_in_what_it_differs_from_its_method() -> None:
    assert shortfalls({"warm_start_share": 0, "output": "picture"}) == []
    (warm,) = shortfalls({"warm_start_share": 0.64})
    assert warm.startswith("made is not lssl as it was published: for 64 % of the steps")
    (flow,) = shortfalls({"warm_start_share": 0.64, "output": "flow"})
    assert "moves its pixels" in flow and "64 %" in flow


def test_translators_that_are_one_training_are_named() -> None:
    whole = {"translator": "lssl", "translator_settings": {"side_input": False}, "settings": {"steps": 9}, "seed": 1}
    trainings = {
        "lssl": whole,
        "lssl_without_side": whole | {"seed": 2},  # each name draws its own
        "lssl_without_bidirectional": whole | {"translator_settings": {"side_input": False, "lambda_bi": 0.0}},
        "longer": whole | {"settings": {"steps": 10}},
        "refused": {},
        "refused_too": {},
    }
    (said,) = _repeated_shortfalls(SimpleNamespace(trainings=trainings))
    assert said.startswith("lssl, lssl_without_side: the same method")
