"""Which names of a pickle may stand for nothing, and which make a file suspect.

Nothing that a file names is ever imported or called here, so any name could be passed over. But a
file that names `os.system` is an attack or an accident, and is refused with a sentence. So:

- of the standard library, NumPy and PyTorch only the names of plain data are passed over;
- of every other package (loggers, metrics, configurations, the user's own classes) all names are,
  but for those of functions that load or run something.
"""

from __future__ import annotations

import re
import sys

# Names by module, as full expressions. Python 2 and 3 and old and new NumPy name alike things
# differently.
_BUILTINS = (
    r"set|frozenset|dict|list|tuple|int|long|float|complex|bool|str|unicode|bytes|bytearray|object"
    r"|slice|range|xrange|type|Ellipsis|NotImplemented|NoneType|[A-Z]\w*(Error|Exception|Warning)"
)
_NUMPY_MODULE = r"numpy\.(core|_core)"
_HARMLESS = tuple(
    (re.compile(module), re.compile(name))
    for module, name in (
        (r"builtins|__builtin__", _BUILTINS),
        (r"_codecs", r"encode"),
        (r"collections", r"OrderedDict|defaultdict|Counter|deque|ChainMap|User(Dict|List|String)"),
        (r"collections\.abc|typing|numbers|abc", r"\w+"),
        (r"datetime|_pydatetime", r"date|datetime|time|timedelta|timezone"),
        (r"zoneinfo(\._\w+)?", r"ZoneInfo(\._unpickle)?"),
        (r"time", r"struct_time"),
        (r"calendar", r"Day|Month"),
        (r"_?decimal|_pydecimal", r"Decimal|Context|ROUND_\w+"),
        (r"fractions", r"Fraction"),
        (r"uuid", r"UUID|SafeUUID"),
        (r"ipaddress", r"IPv[46]\w+"),
        (r"pathlib(\._local)?", r"(Pure)?(Posix|Windows)?Path"),
        (r"types", r"SimpleNamespace|MappingProxyType|NoneType|EllipsisType|GenericAlias"),
        (r"functools", r"partial|partialmethod"),
        (r"enum", r"\w+"),
        (r"argparse", r"Namespace"),
        (r"copyreg|copy_reg", r"_reconstructor|__newobj__|__newobj_ex__"),
        (r"re|_sre|sre_compile", r"_compile|RegexFlag|Pattern"),
        (r"random|_random", r"Random|SystemRandom"),
        (r"array", r"array|_array_reconstructor"),
        (r"itertools|math|cmath|statistics", r"\w+"),
        (r"string", r"Template|Formatter"),
        (r"logging", r"getLogger|Logger|RootLogger|Formatter|(Null|Stream|File)Handler"),
        (r"io|_io", r"BytesIO|StringIO"),
        (r"inspect", r"_empty|_ParameterKind|Parameter|Signature"),
        (r"dataclasses", r"\w*MISSING\w*|_HAS_DEFAULT_FACTORY_CLASS|Field"),
        (r"configparser", r"\w*ConfigParser|SectionProxy|\w*Interpolation|ConverterMapping"),
        (
            r"numpy",
            r"ndarray|dtype|matrix|recarray|generic|number|poly1d|bool_?|void|str_|bytes_|object_"
            r"|u?(int|intp|intc|byte|short|long|longlong)\d*|float\d*|half|single|double"
            r"|longdouble|complex\d*|csingle|cdouble|datetime64|timedelta64",
        ),
        (r"numpy\.dtypes", r"\w+DType"),
        (rf"{_NUMPY_MODULE}\.(multiarray|_multiarray_umath|numeric)", r"_reconstruct|scalar"),
        (rf"{_NUMPY_MODULE}\.numeric", r"_frombuffer"),
        (rf"{_NUMPY_MODULE}(\._internal)?", r"_ufunc_reconstruct|_convert_to_stringdtype_kwargs"),
        (rf"({_NUMPY_MODULE}|numpy)\.(records|rec)", r"recarray|record"),
        (r"numpy\.ma(\.core)?", r"MaskedArray|_mareconstruct|MaskedConstant"),
        (
            r"numpy\.random(\.\w+)*",
            r"RandomState|Generator|BitGenerator|SeedSequence|MT19937|PCG64(DXSM)?|Philox|SFC64"
            r"|__(randomstate|generator|bit_generator)_ctor|__pyx_unpickle_\w+",
        ),
        (
            r"torch(\._C)?",
            r"u?int\d+|float\w*|bfloat16|half|double|long|short|bool|complex\d*|c(float|double)"
            r"|qu?int\w+|bits\w+|Size|device|dtype|layout|memory_format|qscheme|Generator|finfo"
            r"|strided|sparse_\w+|_?mkldnn|jagged|\w+_format|per_(tensor|channel)_\w+"
            r"|Tensor|\w+Tensor|\w+Storage",
        ),
        (r"torch\.torch_version", r"TorchVersion"),
        (r"torch\.serialization", r"_get_layout"),
        (r"torch\._utils", r"_rebuild_\w+"),
        (r"torch\._tensor", r"Tensor|_rebuild_from_type\w*"),
        (r"torch\.storage", r"\w+Storage"),
        (r"torch\.(nn|optim|amp|cuda\.amp|distributions|distributed\.fsdp)(\.\w+)*", r"[\w.]+"),
        (r"torch\.utils\.data(\.\w+)*", r"[A-Z_]\w*(\.\w+)*"),
        (r"torch\.(distributed|multiprocessing)(\.\w+)*", r"ReduceOp(\.\w+)*|ProcessGroup\w*"),
    )
)
_STRICT_PACKAGES = {"numpy", "torch", "__builtin__", "__builtins__", "copy_reg"}
# Python 2's, which the list of this Python's library lacks, and packages that load or run things.
_REFUSED_PACKAGES = set(
    "commands cPickle popen2 urllib2 httplib distutils imp dill cloudpickle joblib jsonpickle "
    "pip setuptools pkg_resources IPython paramiko fabric pexpect plumbum requests".split()
)
# Other packages re-export these modules: some.package.os.system is os.system.
_REFUSED_ANYWHERE = set(
    "os posix nt sys subprocess builtins __builtin__ __builtins__ importlib runpy pickle marshal "
    "ctypes socket shutil".split()
)
_RUNS = set(
    "system popen Popen exec execfile eval compile load loads load_module import_module getattr "
    "setattr delattr open urlopen run run_code run_path run_module runstring call check_call "
    "check_output getoutput spawn spawnl spawnv fork read_pickle load_url Unpickler".split()
)
_CONSTRUCTORS = {"__newobj__", "__newobj_ex__"}


def is_harmless(module: str, name: str) -> bool:
    """Whether an object of this name may be passed over."""
    full_module, full_name = module.split("."), name.split(".")
    parts = {*full_module, *full_name}
    package = full_module[0]
    if package in _STRICT_PACKAGES or (
        package in sys.stdlib_module_names and not package.startswith("__main")
    ):
        return any(m.fullmatch(module) and n.fullmatch(name) for m, n in _HARMLESS)
    hidden = {part for part in full_name if part.startswith("__")} - _CONSTRUCTORS
    return not (
        package in _REFUSED_PACKAGES
        or parts & _REFUSED_ANYWHERE
        or full_name[-1] in _RUNS
        # __globals__, __class__ and their like lead out of any package.
        or any(part.endswith("__") for part in hidden)
    )


def may_be_called(module: str) -> bool:
    """Whether a pickle calls things of this module; layers of a network are only built."""
    return not module.startswith("torch.nn.")
