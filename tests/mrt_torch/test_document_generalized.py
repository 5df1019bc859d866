"""Every class, method and function of MRT GEN's API page, and where it lives here.

Oracle: the page's signatures, copied below. A call as documented, by position or by name, is a call here; parameters of
ours come after, by keyword only, and may be required only where the page has ``**kwargs``.
``pytest -s`` on this file, or ``pytest -rP``, prints the list.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import logging
import re
import sys
from dataclasses import dataclass

import pytest

TYPES, PASSES, BASE = "mrt.V2.tfm_types", "mrt.V2.tfm_pass", "mrt.V2.tfm_base"
FEATURES, BUFFERS = "mrt_torch.calibration.features", "mrt_torch.quantization.buffers"
QUANTIZERS, OPTIMIZORS = "mrt_torch.quantization.quantizers", "mrt_torch.calibration.optimizors"
GRAPH_API, TRANSFORMER = "mrt_torch.passes.generalized", "mrt_torch.ops.transformer"


@dataclass(frozen=True)
class Documented:
    """One entry of the page.

    Attributes:
        original: module of the original.
        name: of the function, class or method, such as "Feature.get".
        signature: as documented, without self.
        module: where it lives here, under the same name.
        public: modules that export it, too.
        static: whether it is documented as a static method.
    """

    original: str
    name: str
    signature: str
    module: str
    public: tuple[str, ...] = ()
    static: bool = False

    def __str__(self) -> str:
        return self.name


def _class(original: str, module: str, name: str, signature: str, *methods: str, public: tuple[str, ...] = ()
           ) -> list[Documented]:
    """A class with its methods, written "name(signature)", "static " before a static one."""
    rows = [Documented(original, name, signature, module, public)]
    for method in methods:
        static, method = method.startswith("static "), method.removeprefix("static ")
        own, _, rest = method.partition("(")
        rows.append(Documented(original, f"{name}.{own}", f"({rest}", module, static=static))
    return rows


QUANTIZER_METHODS = ("get_prec(val)", "get_range(prec)", "get_scale(oprec, ft)", "int_realize(data, prec, **kwargs)",
                     "quantize(sym, oprec, oscale=None, **kwargs)")
OPTIMIZOR_METHODS = ("get_opt(raw_ft, out, **kwargs)", "static list_supported_quant_types()")
TOP, CALIBRATION, QUANTIZATION = "mrt_torch", "mrt_torch.calibration", "mrt_torch.quantization"

DOCUMENT = [
    *_class(TYPES, FEATURES, "Feature", "(*args)", "get()", "get_threshold()", "serialize()",
            public=(TOP, CALIBRATION)),
    *_class(TYPES, FEATURES, "AFeature", "(*args)", "get()", "get_threshold()", "serialize()",
            public=(TOP, CALIBRATION)),
    *_class(TYPES, FEATURES, "MMFeature", "(*args)", "get()", "get_threshold()", "serialize()",
            public=(TOP, CALIBRATION)),
    *_class(TYPES, BUFFERS, "Buffer", "(*args)", "get()", "serialize()", public=(TOP, QUANTIZATION)),
    *_class(TYPES, BUFFERS, "SBuffer", "(*args)", "get()", "serialize()", public=(TOP, QUANTIZATION)),
    *_class(TYPES, BUFFERS, "SZBuffer", "(*args)", "get()", "serialize()", public=(TOP, QUANTIZATION)),
    *_class(TYPES, QUANTIZERS, "Quantizer", "()", *QUANTIZER_METHODS, public=(TOP, QUANTIZATION)),
    *_class(TYPES, QUANTIZERS, "USQuantizer", "()", *QUANTIZER_METHODS, public=(TOP, QUANTIZATION)),
    *_class(TYPES, QUANTIZERS, "UAQuantizer", "()", *QUANTIZER_METHODS, public=(TOP, QUANTIZATION)),
    *_class(TYPES, OPTIMIZORS, "Optimizor", "(**attrs)", *OPTIMIZOR_METHODS, public=(TOP, CALIBRATION)),
    *_class(TYPES, OPTIMIZORS, "HVOptimizor", "(**attrs)", *OPTIMIZOR_METHODS, public=(TOP, CALIBRATION)),
    *_class(TYPES, OPTIMIZORS, "MAOptimizor", "(**attrs)", *OPTIMIZOR_METHODS, public=(TOP, CALIBRATION)),
    *_class(TYPES, OPTIMIZORS, "KLDOptimizor", "(**attrs)", *OPTIMIZOR_METHODS, public=(TOP, CALIBRATION)),
    Documented(PASSES, "sym_config_infos", "(symbol, params, cfg_dict={}, logger=logging)", GRAPH_API,
               ("mrt_torch.passes",)),
    Documented(PASSES, "deserialize", "(cfg_groups)", GRAPH_API, ("mrt_torch.passes",)),
    Documented(PASSES, "sym_calibrate", "(symbol, params, data, cfg_dict, **kwargs)", GRAPH_API, ("mrt_torch.passes",)),
    Documented(PASSES, "sym_separate_pad", "(symbol, params)", GRAPH_API, ("mrt_torch.passes",)),
    Documented(PASSES, "sym_separate_bias", "(symbol, params)", GRAPH_API, ("mrt_torch.passes",)),
    Documented(PASSES, "sym_slice_channel", "(symbol, params, cfg_dict={})", GRAPH_API, ("mrt_torch.passes",)),
    Documented(PASSES, "quantize", "(symbol, params, features, precs, buffers, cfg_dict, op_input_precs, "
               "restore_names, shift_bits, softmax_lambd)", GRAPH_API),
    *_class(BASE, TRANSFORMER, "Transformer", "()", "quantize(op, **kwargs)", "slice_channel(op, **kwargs)",
            public=("mrt_torch.ops",)),
]
#: What a class whose documented signature is ``*args`` or ``**attrs`` is made with here, as its description says.
ARGUMENTS = {
    "AFeature": (3.0,), "MMFeature": (-1.0, 2.0), "SBuffer": (127.0,), "SZBuffer": (127.0, -1.0),
    "HVOptimizor": {"lambd": None}, "MAOptimizor": {"c": 0.01},
    "KLDOptimizor": {"bucket_bit": 12, "quant_bit": 8, "eps": 1e-4},
}
BASES = {"AFeature": "Feature", "MMFeature": "Feature", "SBuffer": "Buffer", "SZBuffer": "Buffer",
         "USQuantizer": "Quantizer", "UAQuantizer": "Quantizer", "HVOptimizor": "Optimizor",
         "MAOptimizor": "Optimizor", "KLDOptimizor": "Optimizor"}


def found(entry: Documented):
    """The object that the entry documents."""
    thing = importlib.import_module(entry.module)
    for part in entry.name.split("."):
        thing = getattr(thing, part)
    return thing


def documented_signature(entry: Documented) -> inspect.Signature:
    """The text of the page as a signature, self in front for methods that have it."""
    arguments = ast.parse(f"def documented{entry.signature}: ...").body[0].args
    defaults = [inspect.Parameter.empty] * (len(arguments.args) - len(arguments.defaults)) + [
        {"logging": logging}.get(ast.unparse(value)) for value in arguments.defaults]
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("self", positional)] if "." in entry.name and not entry.static else []
    parameters += [inspect.Parameter(argument.arg, positional, default=default)
                   for argument, default in zip(arguments.args, defaults, strict=True)]
    if arguments.vararg:
        parameters.append(inspect.Parameter(arguments.vararg.arg, inspect.Parameter.VAR_POSITIONAL))
    if arguments.kwarg:
        parameters.append(inspect.Parameter(arguments.kwarg.arg, inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters)


def own_signature(thing) -> inspect.Signature:
    """Without annotations, which the page has none of."""
    signature = inspect.signature(thing)
    return signature.replace(return_annotation=signature.empty, parameters=[
        parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()])


@pytest.mark.parametrize("entry", DOCUMENT, ids=str)
def test_it_exists_and_says_what_it_is(entry):
    thing = found(entry)
    assert callable(thing) and inspect.getdoc(thing)
    for module in entry.public:
        assert getattr(importlib.import_module(module), entry.name) is thing, module
    if entry.static:
        owner = found(Documented(entry.original, entry.name.partition(".")[0], "", entry.module))
        assert isinstance(inspect.getattr_static(owner, entry.name.partition(".")[2]), (staticmethod, classmethod))


@pytest.mark.parametrize("entry", DOCUMENT, ids=str)
def test_a_call_as_documented_is_a_call_here(entry):
    documented, own = documented_signature(entry), own_signature(found(entry))
    if any(p.kind is p.VAR_POSITIONAL for p in documented.parameters.values()):
        assert isinstance(ARGUMENTS.get(entry.name, ()), tuple)
        if entry.name in ARGUMENTS:
            own.bind(*ARGUMENTS[entry.name])
        return
    named = [p for p in documented.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    mine = [p for p in own.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert [p.name for p in mine] == [p.name for p in named]
    for wanted, seen in zip(named, mine, strict=True):
        assert seen.kind is wanted.kind, seen
        assert (seen.default is seen.empty) == (wanted.default is wanted.empty), seen
    if entry.name in ARGUMENTS:
        own.bind(**ARGUMENTS[entry.name])
    takes_more = any(p.kind is p.VAR_KEYWORD for p in documented.parameters.values())
    required = [p for p in own.parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    assert takes_more or not required, required
    assert all(p.kind is not p.VAR_POSITIONAL for p in own.parameters.values())


@pytest.mark.parametrize("name, base", BASES.items())
def test_classes_derive_as_documented(name, base):
    entries = {entry.name: entry for entry in DOCUMENT}
    assert issubclass(found(entries[name]), found(entries[base]))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_values_and_optimizors_are_made_from_what_their_descriptions_name(name):
    entry = next(entry for entry in DOCUMENT if entry.name == name)
    given = ARGUMENTS[name]
    made = found(entry)(*given) if isinstance(given, tuple) else found(entry)(**given)
    if isinstance(given, tuple):
        assert made.get() == (given[0] if len(given) == 1 else given)
        assert made.serialize()[1:] == list(given)


@pytest.mark.parametrize("entry", [entry for entry in DOCUMENT if entry.name.partition(".")[0] in BASES
                                   and "." in entry.name], ids=str)
def test_no_method_is_only_the_refusal_of_the_base(entry):
    """The bases say what is to be defined, and raise TypeError."""
    owner, _, method = entry.name.partition(".")
    base = found(next(other for other in DOCUMENT if other.name == f"{BASES[owner]}.{method}"))
    if base is found(entry):
        assert "does not define" not in inspect.getsource(base)


def parity_table() -> list[str]:
    """A line for each entry: the original, its signature, where it lives here, and its signature here."""
    rows = [("documented", "", "here", "")]
    for entry in DOCUMENT:
        try:
            here = re.sub(r"<module '(\w+)'[^>]*>", r"\1", str(own_signature(found(entry))))
        except (ImportError, AttributeError):
            here = "MISSING"
        rows.append((f"{entry.original}.{entry.name}", entry.signature, f"{entry.module}.{entry.name}", here))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1, 2)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows]


def test_the_list_is_complete():
    """Prints it."""
    lines = parity_table()
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert not [line for line in lines if "MISSING" in line]
