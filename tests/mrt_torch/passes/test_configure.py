"""Which nodes a configuration means. Oracle: the rule of precedence, name by name."""

from __future__ import annotations

import itertools
import logging

import pytest

from mrt_torch.configuration import DEFAULTS
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.passes import prepare, sym_config_infos
from mrt_torch.passes.configure import given_configuration
from mrt_torch.passes.names import claim_name
from tests.mrt_torch.ops.graphs import aten, draw, graph
from tests.mrt_torch.small_models import convolutional, prepared

AFFINE, SYMMETRIC, GROUPED = ({"quant_type": name} for name in ("UniformAffine", "UniformSymmetric", "GroupConv"))
CHANNELS = {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": 1}}


class Recorder:
    """A logger that keeps what it is told."""

    def __init__(self):
        self.messages = []

    def warning(self, message, *arguments):
        self.messages.append(message % arguments)


def quantizers(configuration) -> dict[str, str]:
    """Names of the nodes whose quantizer is not the default."""
    return {name: attributes["quant_type"] for name, attributes in configuration.items()
            if attributes["quant_type"] != DEFAULTS["quant_type"]}


def test_every_node_gets_the_defaults():
    model = prepared()
    configuration = sym_config_infos(model, None)
    assert list(configuration) == [node.name for node in model.module.graph.nodes if node.op != "output"]
    assert all(attributes == DEFAULTS for attributes in configuration.values())
    assert configuration == sym_config_infos(model.module, {}, {})


def test_nodes_do_not_share_their_mappings():
    configuration = sym_config_infos(prepared(), None, {"op:Convolution": CHANNELS})
    configuration["conv0"]["gn_info"]["step"] = 2
    assert configuration["conv1"]["gn_info"]["step"] == 1 and CHANNELS["gn_info"]["step"] == 1
    assert DEFAULTS["gn_info"] == {"gn_type": "layer-wise"}


@pytest.mark.parametrize("key, nodes", [
    ("conv0", {"conv0"}), (("conv0", "relu1"), {"conv0", "relu1"}), ("conv0_weight", {"conv0_weight"}),
    ("data", {"data"}), ("image", {"data"}),
    ("re:conv.", {"conv0", "conv1"}), ("re:conv", set()), ("re:.*(0|1)_weight", {"conv0_weight", "conv1_weight"}),
    ("op:Convolution", {"conv0", "conv1"}), ("op:relu", {"relu0", "relu1"}), ("op:convolution", set()),
    ("conv", set()), ("conv.", set())])
def test_what_a_key_means(key, nodes):
    """An expression matches as a whole; a plain name is no expression."""
    assert set(quantizers(sym_config_infos(prepared(), None, {key: AFFINE}, Recorder()))) == nodes


def test_the_residual_is_what_no_other_key_means_wherever_it_stands():
    entries = [("conv0", SYMMETRIC), ("re:relu.", CHANNELS), ("op:FullyConnected", SYMMETRIC), ("_RES_", AFFINE)]
    found = [quantizers(sym_config_infos(prepared(), None, dict(order))) for order in itertools.permutations(entries)]
    assert all(one == found[0] for one in found)
    assert set(found[0]) == {"data", "conv0_weight", "conv0_bias", "pool0", "conv1_weight", "conv1", "features",
                             "dense_weight", "dense_bias"}


def test_each_attribute_comes_from_the_key_of_highest_precedence():
    """Name before expression before operator, in any order of the mapping; attributes one by one."""
    opt, other = {"opt_info": ("MovingAverage", "c", 0.5)}, {"opt_info": ("MovingAverage", "c", 0.25)}
    entries = [("conv0", AFFINE), ("re:conv0", {**SYMMETRIC, **opt}),
               ("op:Convolution", {**SYMMETRIC, **other, **CHANNELS}),
               ("_RES_", {"opt_info": ("HistoricalValue", "lambd", 3.0)})]
    for order in itertools.permutations(entries):
        configuration = sym_config_infos(prepared(), None, dict(order))
        assert configuration["conv0"] == {**AFFINE, **opt, **CHANNELS}
        assert configuration["conv1"] == {**SYMMETRIC, **other, **CHANNELS}
        assert configuration["relu0"] == {**DEFAULTS, "opt_info": ("HistoricalValue", "lambd", 3.0)}


def test_the_name_in_the_graph_goes_before_the_name_in_the_model():
    """Here a node's fx name is the source name of another."""
    def build(editor, x):
        first = editor.call(aten.relu.default, x, name="b")
        second = editor.call(aten.neg.default, first, name="a")
        claim_name(second, "b")
        return second

    module = graph(build, (2, 3))
    assert set(quantizers(sym_config_infos(module, None, {"b": AFFINE}))) == {"b"}
    assert set(quantizers(sym_config_infos(module, None, {"a": AFFINE}))) == {"b"}


def test_keys_that_mean_nothing_are_reported_once_and_the_rest_holds():
    """The original's warning raised TypeError."""
    recorder = Recorder()
    configuration = sym_config_infos(prepared(), None, {"conv7": AFFINE, "conv0": AFFINE, "re:pool7": AFFINE,
                                                        "op:Pad": AFFINE, "_RES_": AFFINE}, recorder)
    assert recorder.messages == ["the configuration names no node of the graph with 'conv7', 're:pool7', 'op:Pad'"]
    assert configuration["conv0"]["quant_type"] == "UniformAffine"


def test_the_report_goes_to_logging_by_default(caplog):
    with caplog.at_level(logging.WARNING):
        sym_config_infos(prepared(), None, {"conv7": AFFINE})
    assert "'conv7'" in caplog.text


def test_a_residual_that_means_nothing_is_fine():
    recorder = Recorder()
    configuration = sym_config_infos(prepared(), None, {"re:.*": SYMMETRIC, "_RES_": AFFINE}, recorder)
    assert quantizers(configuration) == {} and recorder.messages == []


def dense_on_rows():
    """A dense layer on 3 axes, which prepare makes reshape, linear, reshape: three nodes of one name."""
    def build(editor, x):
        return editor.call(aten.linear.default, x, editor.constant("weight", draw(3, 4)), None, name="layer/fc")
    return prepare(graph(build, (2, 5, 4)))


def test_all_nodes_of_a_users_node_are_meant_but_only_one_can_be_sliced():
    module = dense_on_rows()
    for key in ("layer/fc", "re:layer/.*"):
        configuration = sym_config_infos(module, None, {key: {**AFFINE, **CHANNELS}})
        assert len(quantizers(configuration)) == 3
        sliced = [name for name, attributes in configuration.items() if attributes["gn_info"] == CHANNELS["gn_info"]]
        assert [node.target for node in module.graph.nodes if node.name in sliced] == [aten.linear.default]


def test_granularity_stays_where_no_node_of_the_name_can_be_sliced():
    """So that slicing can say so."""
    configuration = sym_config_infos(prepared(), None, {"relu0": CHANNELS})
    assert configuration["relu0"]["gn_info"] == CHANNELS["gn_info"]


def test_what_was_given_without_defaults():
    module = prepared().module
    assert given_configuration(module, {}) == {}
    assert given_configuration(module, {"op:Convolution": AFFINE, "conv1": CHANNELS}) == {
        "conv0": AFFINE, "conv1": {**AFFINE, **CHANNELS}}


def test_the_result_is_a_configuration_that_gives_itself():
    model = prepared()
    configuration = sym_config_infos(model, None, {"conv0": {**AFFINE, **CHANNELS}, "_RES_": GROUPED})
    assert sym_config_infos(model, None, configuration) == configuration


@pytest.mark.parametrize("configuration, message", [
    ({"re:(": AFFINE}, r"no regular expression(.|\n)*'re:\('"),
    ({"re:conv.": AFFINE, "re:.*0": SYMMETRIC}, "two keys disagree about quant_type of a node(.|\n)*node 'conv0'"
                                               "(.|\n)*'re:conv.' says 'UniformAffine', 're:.*0' says"),
    ({"image": AFFINE, "data": SYMMETRIC}, "two keys disagree"),
    ({"conv0": AFFINE, "op:Convolution": {"opt_info": {"opt_type": "KLDivergence"}}},
     "'KLDivergence' does not support the quantizer 'UniformAffine'(.|\n)*node 'conv0'"),
    ({"conv0": {"quant_type": "?"}}, "unsupported quantizer type"),
])
def test_what_is_refused(configuration, message):
    with pytest.raises(InvalidArgumentError, match=message):
        sym_config_infos(prepared(), None, configuration)


def test_keys_that_agree_are_fine():
    assert set(quantizers(sym_config_infos(prepared(), None, {"re:conv.": AFFINE, "re:.*v0": AFFINE}))) == \
        {"conv0", "conv1"}


def test_a_graph_that_is_not_prepared_is_refused():
    with pytest.raises(InvalidArgumentError, match="a prepared float model is needed"):
        sym_config_infos(convolutional(), None)
