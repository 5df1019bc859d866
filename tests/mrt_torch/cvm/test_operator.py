"""Properties that every row of the operator table has."""

from __future__ import annotations

import inspect

import pytest
import torch

from mrt_torch.cvm import OPERATORS
from mrt_torch.cvm.operator import CvmOperator, OperatorTable
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from tests.mrt_torch.cvm.calls import SAMPLES, assert_range_holds, call_on, flat, outputs, run

# The operators with a kernel in the runtime's registry.
NAMES = """abs broadcast_add broadcast_div broadcast_greater broadcast_max broadcast_mul broadcast_sub clip
concatenate conv2d cvm_clip cvm_left_shift cvm_lut cvm_precision cvm_right_shift dense elemwise_add
elemwise_sub expand_dims flatten get_valid_counts max max_pool2d negative non_max_suppression relu repeat reshape
slice_like squeeze strided_slice sum take tile transpose upsampling where""".split()
IN_PLACE = """flatten relu expand_dims reshape squeeze abs cvm_precision elemwise_add elemwise_sub clip
cvm_clip cvm_right_shift cvm_left_shift""".split()

every_operator = pytest.mark.parametrize("name", sorted(SAMPLES))


def test_table_holds_the_registry_of_the_runtime():
    assert sorted(row.name for row in OPERATORS if not row.composite) == NAMES and len(NAMES) == 37
    assert sorted(row.name for row in OPERATORS) == sorted(SAMPLES)


def test_in_place_rows_are_those_of_the_runtime():
    assert sorted(row.name for row in OPERATORS if row.in_place) == sorted(IN_PLACE)


@every_operator
def test_torch_accepts_the_registration(name):
    """Oracle: torch.library.opcheck (schema, aliasing, fake kernel, export with symbolic shapes)."""
    tensors, attributes = SAMPLES[name]
    torch.library.opcheck(OPERATORS[name].target, tensors, attributes,
                          test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_dynamic"))


@every_operator
def test_result_is_fresh_and_inputs_stay(name):
    tensors, attributes = SAMPLES[name]
    before = [t.clone() for t in flat(tensors)]
    results = outputs(run(name, *tensors, **attributes))
    assert all(result.is_contiguous() for result in results)
    for tensor, copy in zip(flat(tensors), before, strict=True):
        assert torch.equal(tensor, copy)
        assert all(tensor.untyped_storage().data_ptr() != result.untyped_storage().data_ptr() for result in results)


@every_operator
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_integers_of_the_cpu(name):
    tensors, attributes = SAMPLES[name]
    on_cuda = [[t.cuda() for t in x] if isinstance(x, list) else x.cuda() for x in tensors]
    found, expected = OPERATORS[name].target(*on_cuda, **attributes), run(name, *tensors, **attributes)
    for result, reference in zip(outputs(found), outputs(expected), strict=True):
        assert result.is_cuda and result.dtype == torch.int32
        assert torch.equal(result.cpu(), reference)


@every_operator
def test_values_stay_in_the_proven_range(name):
    tensors, attributes = SAMPLES[name]
    if name == "where":  # the runtime takes the condition's precision
        tensors = (tensors[0] * 127, *tensors[1:])
    assert_range_holds(name, *tensors, **attributes)


@every_operator
def test_constants_never_widen_the_range(name):
    """A row that reads the constants' values proves a part of what it proves without."""
    tensors, attributes = SAMPLES[name]
    free = call_on(name, *tensors, **attributes)
    fixed = call_on(name, *tensors, constants=range(1, len(flat(tensors))), **attributes)
    row = OPERATORS[name]
    for wide, exact in zip(row.value_ranges(free), row.value_ranges(fixed), strict=True):
        assert wide.contains(exact)
    assert row.precisions(free) == row.precisions(fixed)


@every_operator
def test_attributes_survive_writing_and_reading(name):
    """Reading back what was written gives a call with the same result."""
    tensors, attributes = SAMPLES[name]
    row = OPERATORS[name]
    written = row.write_attributes(call_on(name, *tensors, **attributes))
    assert all(isinstance(text, str) for text in written.values())
    again = row.read_attributes(written)
    assert set(again) == set(row.attribute_names) == set(attributes)
    for result, expected in zip(outputs(run(name, *tensors, **again)), outputs(run(name, *tensors, **attributes))):
        assert torch.equal(result, expected)
    if name != "reshape":  # written as the concrete shape
        assert again == attributes


@every_operator
def test_unknown_attributes_are_refused(name):
    tensors, attributes = SAMPLES[name]
    written = OPERATORS[name].write_attributes(call_on(name, *tensors, **attributes))
    with pytest.raises(InvalidFileError, match="no attribute 'colour'"):
        OPERATORS[name].read_attributes({**written, "colour": "1"})
    OPERATORS[name].read_attributes({**written, "__colour__": "1"})


@every_operator
def test_malformed_attributes_are_refused(name):
    tensors, attributes = SAMPLES[name]
    written = OPERATORS[name].write_attributes(call_on(name, *tensors, **attributes))
    for key in written:
        with pytest.raises(InvalidFileError, match=f"'{key}'"):
            OPERATORS[name].read_attributes({**written, key: "(1, x"})


@every_operator
def test_schema_names_the_arguments_of_the_kernel(name):
    row = OPERATORS[name]
    parameters = inspect.signature(row.kernel).parameters
    assert [argument.name for argument in row.target._schema.arguments] == list(parameters)
    keyword_only = [p.name for p in parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    assert keyword_only == list(row.attribute_names)


def test_rows_are_found_by_name_and_target():
    row = OPERATORS["relu"]
    assert "relu" in OPERATORS and OPERATORS.get("relu") is row
    assert OPERATORS.of_target(torch.ops.cvm.relu.default) is row
    assert OPERATORS.of_target(torch.ops.aten.relu.default) is None
    assert OPERATORS.get("softmax") is None


def test_registering_a_name_twice_is_refused():
    with pytest.raises(InvalidArgumentError, match="'relu' is registered already"):
        OPERATORS.register(OPERATORS["relu"])
    assert isinstance(OPERATORS, OperatorTable) and isinstance(OPERATORS["relu"], CvmOperator)
