"""Configurations by name: read, checked, converted. Oracle: the rules of MRT GEN's ``deserialize``."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.configuration import ATTRIBUTES, DEFAULTS, GRANULARITIES, deserialize
from mrt_torch.errors import InvalidArgumentError


def optimizor(**given) -> dict:
    return {"conv0": {"opt_info": given}}


@pytest.mark.parametrize("key, names", [
    ("conv0", ["conv0"]), (("conv0", "conv1"), ["conv0", "conv1"]), ('["conv0"]', ["conv0"]),
    ('["conv0", "a.b"]', ["conv0", "a.b"]), ('["conv0". "a.b"]', ["conv0", "a.b"]),
    (frozenset({"b", "a"}), ["a", "b"]), ("[odd", ["[odd"])])
def test_keys_stand_for_names(key, names):
    assert list(deserialize({key: {"quant_type": "UniformAffine"}})) == names


def test_attributes_of_a_name_may_come_from_several_groups():
    groups = {("conv0", "conv1"): {"quant_type": "UniformAffine"}, "conv0": {"gn_info": '{"gn_type": "layer-wise"}'}}
    assert deserialize(groups) == {"conv0": {"quant_type": "UniformAffine", "gn_info": {"gn_type": "layer-wise"}},
                                   "conv1": {"quant_type": "UniformAffine"}}


@pytest.mark.parametrize("text", [
    '{"gn_type": "channel-wise", "ichannel": 1, "step": 4}',
    '{"gn_type"; "channel-wise". "ichannel"; 1. "step"; 4}',
    ' {"gn_type";"channel-wise"."ichannel";1."step";4} '])
def test_a_text_stands_for_json_with_or_without_the_escapes(text):
    """The example of mrt-gen 6."""
    assert deserialize({"conv0": {"gn_info": text}})["conv0"]["gn_info"] == \
        {"gn_type": "channel-wise", "ichannel": 1, "step": 4}


def test_decimal_numbers_survive_the_escapes():
    """The original could not write one."""
    text = '{"opt_type"; "KLDivergence". "bucket_bit"; 10. "eps"; 0.001. "quant_bit"; 8}'
    assert deserialize({"conv0": {"opt_info": text}})["conv0"]["opt_info"] == \
        ("KLDivergence", "bucket_bit", 10, "quant_bit", 8, "eps", 0.001)


def test_conversions_are_kept():
    """The original threw them away: an int for a float, the text for None, the texts of truth values."""
    found = deserialize(optimizor(opt_type="MovingAverage", c=1))["conv0"]["opt_info"]
    assert found == ("MovingAverage", "c", 1.0) and isinstance(found[2], float)
    for value, wanted in (("_NoneType", None), (None, None), (25, 25.0)):
        assert deserialize(optimizor(opt_type="HistoricalValue", lambd=value))["conv0"]["opt_info"] == \
            ("HistoricalValue", "lambd", wanted)
    for value, wanted in (("True", True), ("False", False), (True, True)):
        info = {"gn_type": "group-wise", "num_groups": 2, "is_weight": value}
        assert deserialize({"w": {"gn_info": info}})["w"]["gn_info"]["is_weight"] is wanted


def test_attributes_are_in_the_order_of_the_optimizor():
    """So that equal configurations are equal keys."""
    one = deserialize(optimizor(opt_type="KLDivergence", quant_bit=8, bucket_bit=10))
    other = deserialize(optimizor(bucket_bit=10, opt_type="KLDivergence"))
    assert one == other == deserialize({"conv0": {"opt_info": ["KLDivergence", "quant_bit", 8, "bucket_bit", 10]}})


def test_the_defaults_are_a_configuration():
    assert deserialize({"conv0": DEFAULTS}) == {"conv0": dict(DEFAULTS)}
    assert deserialize({}) == {} and deserialize({"conv0": {}}) == {}


@pytest.mark.parametrize("groups, message", [
    ([("conv0", {})], "a configuration is a mapping"),
    ({"conv0": "UniformAffine"}, "the attributes of a node are a mapping"),
    ({1: {"quant_type": "UniformAffine"}}, "a configuration is for a name, or a tuple of names"),
    ({(): {"quant_type": "UniformAffine"}}, "a configuration is for a name"),
    ({"": {"quant_type": "UniformAffine"}}, "a configuration is for a name"),
    ({"[conv0]": {"quant_type": "UniformAffine"}}, "a text stands for JSON"),
    ({"[1]": {"quant_type": "UniformAffine"}}, "a configuration is for a name"),
    ({"conv0": {"quantizer": "UniformAffine"}}, "no attribute 'quantizer'(.|\n)*gn_info, quant_type, opt_info"),
    ({"conv0": {"quant_type": "UniformAffine"}, ("a", "conv0"): {"quant_type": "UniformSymmetric"}},
     "duplicate attribute: 'quant_type'(.|\n)*'UniformAffine' and 'UniformSymmetric'"),
    ({("conv0", "conv0"): {"quant_type": "UniformAffine"}}, "duplicate attribute"),
    # granularity
    ({"conv0": {"gn_info": "{"}}, r"invalid value: a text stands for JSON(.|\n)*saw '\{'"),
    ({"conv0": {"gn_info": '{"gn_type": "layer-wise", "gn_type": "layer-wise"}'}}, "a key is given twice"),
    ({"conv0": {"gn_info": '{"gn_type": NaN}'}}, "NaN is no number"),
    ({"conv0": {"gn_info": "[" * 100000}}, "a text stands for JSON"),
    ({"conv0": {"gn_info": '["layer-wise"]'}}, "a mapping is expected"),
    ({"conv0": {"gn_info": 4}}, "a mapping is expected"),
    ({"conv0": {"gn_info": {}}}, "please specify gn_type(.|\n)*layer-wise, channel-wise, group-wise"),
    ({"conv0": {"gn_info": {"gn_type": "row-wise"}}}, "unsupported granularity type(.|\n)*saw 'row-wise'"),
    ({"conv0": {"gn_info": {"gn_type": ["layer-wise"]}}}, "unsupported granularity type"),
    ({"conv0": {"gn_info": {"gn_type": "layer-wise", "step": 1}}}, r"takes nothing else(.|\n)*saw \['step'\]"),
    ({"conv0": {"gn_info": {"gn_type": "channel-wise", "step": 1}}}, r"takes ichannel \(int\) and step \(int\)"),
    ({"conv0": {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": 1.0}}}, "step, gn_info of 'conv0'"),
    ({"conv0": {"gn_info": {"gn_type": "channel-wise", "ichannel": True, "step": 1}}}, "ichannel, gn_info of 'conv0'"),
    ({"conv0": {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": 0}}}, "an integer of at least 1"),
    ({"conv0": {"gn_info": {"gn_type": "group-wise", "num_groups": 2, "is_weight": "yes"}}}, "it is True or False"),
    # quantizer
    ({"conv0": {"quant_type": "UniformCubic"}}, "unsupported quantizer type(.|\n)*UniformSymmetric, UniformAffine"),
    ({"conv0": {"quant_type": None}}, "unsupported quantizer type"),
    # optimizor
    (optimizor(lambd=1.0), "please specify opt_type(.|\n)*HistoricalValue"),
    (optimizor(opt_type="Oracle"), "unsupported optimizor type(.|\n)*saw 'Oracle'(.|\n)*KLDivergence"),
    (optimizor(opt_type=["HistoricalValue"]), "unsupported optimizor type"),
    (optimizor(opt_type="MovingAverage", lambd=1.0), "'MovingAverage' has no attribute 'lambd'(.|\n)*attributes are c"),
    (optimizor(opt_type="MovingAverage", c="0.01"), "of type float(.|\n)*opt_info of 'conv0'(.|\n)*saw '0.01'"),
    (optimizor(opt_type="MovingAverage", c=None), "of type float"),
    (optimizor(opt_type="MovingAverage", c="_NoneType"), "of type float"),
    (optimizor(opt_type="MovingAverage", c=True), "of type float"),
    (optimizor(opt_type="KLDivergence", bucket_bit=10.0), "of type int(.|\n)*saw 10.0"),
    (optimizor(opt_type="MovingAverage", c=2.0), "at most 1(.|\n)*opt_info of 'conv0'(.|\n)*saw 2.0"),
    (optimizor(opt_type="MovingAverage", self=2.0), "no attribute 'self'"),
    ({"conv0": {"opt_info": ("MovingAverage", "c")}}, r"is written \(opt_type, attribute, value, ...\)"),
    ({"conv0": {"opt_info": ("MovingAverage", "c", 0.1, "c", 0.2)}}, "each attribute once"),
    ({"conv0": {"opt_info": ()}}, "unsupported optimizor type"),
    ({"conv0": {"quant_type": "UniformAffine", "opt_info": {"opt_type": "KLDivergence"}}},
     "'KLDivergence' does not support the quantizer 'UniformAffine'(.|\n)*opt_info of 'conv0'"),
])
def test_what_is_refused(groups, message):
    with pytest.raises(InvalidArgumentError, match=message) as error:
        deserialize(groups)
    assert error.value.remedy


def test_granularity_is_checked_before_the_quantizer_before_the_optimizor():
    """The order of mrt-gen 6."""
    wrong = {"opt_info": {}, "quant_type": "?", "gn_info": {}}
    for what in ("gn_type", "unsupported quantizer", "opt_type"):
        with pytest.raises(InvalidArgumentError, match=what):
            deserialize({"conv0": wrong})
        wrong.popitem()


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(InvalidArgumentError) as error:
        deserialize({"conv0": {"quant_type": "x" * 10_000}})
    assert len(str(error.value)) < 1000


OPTIONS = st.one_of(
    st.builds(lambda v: {"opt_type": "HistoricalValue", "lambd": v},
              st.none() | st.integers(1, 50) | st.floats(0, 50, allow_nan=False)),
    st.builds(lambda c: {"opt_type": "MovingAverage", "c": c}, st.floats(0.001, 0.5)),
    st.just({"opt_type": "HistoricalValue"}))
STEPS = st.integers(1, 64)
GRANULARITY = st.one_of(
    st.just({"gn_type": "layer-wise"}),
    st.builds(lambda s: {"gn_type": "channel-wise", "ichannel": 1, "step": s}, STEPS),
    st.builds(lambda n, w: {"gn_type": "group-wise", "num_groups": n, "is_weight": w}, STEPS, st.booleans()))
CONFIGURATIONS = st.dictionaries(
    st.text("abc._:;/,[]0 ", min_size=1, max_size=6).filter(lambda name: not name.startswith("[")),
    st.fixed_dictionaries({}, optional={"gn_info": GRANULARITY, "opt_info": OPTIONS, "quant_type": st.sampled_from(
        ["UniformSymmetric", "UniformAffine"])}).filter(bool), max_size=4)


@settings(deadline=None, max_examples=60)
@given(configuration=CONFIGURATIONS)
def test_every_way_to_write_a_configuration_reads_the_same(configuration):
    """As mappings, as JSON texts, escaped, as read before, and as JSON of what was read before."""
    wanted = deserialize(configuration)
    assert list(wanted) == list(configuration) and all(set(a) <= set(ATTRIBUTES) for a in wanted.values())
    assert deserialize(wanted) == wanted == deserialize(json.loads(json.dumps(wanted)))
    as_text = {name: {key: value if key == "quant_type" else json.dumps(value) for key, value in attributes.items()}
               for name, attributes in configuration.items()}
    assert deserialize(as_text) == wanted
    escaped = {name: {key: value if key == "quant_type" else value.replace(",", ".").replace(":", ";")
                      for key, value in attributes.items()} for name, attributes in as_text.items()}
    assert deserialize(escaped) == wanted


def test_the_table_of_granularities_names_all_keys():
    assert {name: set(keys) for name, keys in GRANULARITIES.items()} == {
        "layer-wise": set(), "channel-wise": {"ichannel", "step"}, "group-wise": {"is_weight", "num_groups"}}
