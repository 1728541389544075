"""Decides which global names in a pickle are ignored and which cause an error.

This package never imports or calls what a file names, so every name could be ignored. A file that
names `os.system`, however, is an attack or an accident, and is refused. The rules are:

- From the standard library, NumPy and PyTorch only names of plain data are ignored.
- From every other package (loggers, metrics, configurations, the user's own classes) all names are
  ignored except those of functions that load or run something.
"""

from __future__ import annotations

import re
import sys

# One pattern of modules and one of names in each row; both must match in full. A module can have
# several rows. Python 2 and 3, and old and new NumPy, have different names for the same things.
_HARMLESS = tuple(
    tuple(re.compile(pattern) for pattern in row.split())
    for row in r"""
builtins|__builtin__      set|frozenset|dict|list|tuple|int|long|float|complex|bool|str|unicode
builtins|__builtin__      bytes|bytearray|object|slice|range|xrange|type|Ellipsis|NotImplemented
builtins|__builtin__      NoneType|[A-Z]\w*(Error|Exception|Warning)
_codecs                   encode
collections               OrderedDict|defaultdict|Counter|deque|ChainMap|User(Dict|List|String)
collections\.abc|typing|numbers|abc  \w+
datetime|_pydatetime      date|datetime|time|timedelta|timezone
zoneinfo(\._\w+)?         ZoneInfo(\._unpickle)?
time                      struct_time
calendar                  Day|Month
_?decimal|_pydecimal      Decimal|Context|ROUND_\w+
fractions                 Fraction
uuid                      UUID|SafeUUID
ipaddress                 IPv[46]\w+
pathlib(\._local)?        (Pure)?(Posix|Windows)?Path
types                     SimpleNamespace|MappingProxyType|NoneType|EllipsisType|GenericAlias
functools                 partial|partialmethod
enum                      \w+
argparse                  Namespace
copyreg|copy_reg          _reconstructor|__newobj__|__newobj_ex__
re|_sre|sre_compile       _compile|RegexFlag|Pattern
random|_random            Random|SystemRandom
array                     array|_array_reconstructor
itertools|math|cmath|statistics  \w+
string                    Template|Formatter
logging                   getLogger|Logger|RootLogger|Formatter|(Null|Stream|File)Handler
io|_io                    BytesIO|StringIO
inspect                   _empty|_ParameterKind|Parameter|Signature
dataclasses               \w*MISSING\w*|_HAS_DEFAULT_FACTORY_CLASS|Field
configparser              \w*ConfigParser|SectionProxy|\w*Interpolation|ConverterMapping
numpy                     ndarray|dtype|matrix|recarray|generic|number|poly1d|bool_?|void|str_
numpy                     bytes_|object_|u?(int|intp|intc|byte|short|long|longlong)\d*|float\d*
numpy                     half|single|double|longdouble|complex\d*|csingle|cdouble|datetime64
numpy                     timedelta64
numpy\.dtypes             \w+DType
numpy\.(core|_core)\.(multiarray|_multiarray_umath|numeric)  _reconstruct|scalar
numpy\.(core|_core)\.numeric  _frombuffer
numpy\.(core|_core)(\._internal)?  _ufunc_reconstruct|_convert_to_stringdtype_kwargs
(numpy\.(core|_core)|numpy)\.(records|rec)  recarray|record
numpy\.ma(\.core)?        MaskedArray|_mareconstruct|MaskedConstant
numpy\.random(\.\w+)*     RandomState|Generator|BitGenerator|SeedSequence|MT19937|PCG64(DXSM)?
numpy\.random(\.\w+)*     Philox|SFC64|__(randomstate|generator|bit_generator)_ctor
numpy\.random(\.\w+)*     __pyx_unpickle_\w+
torch(\._C)?              u?int\d+|float\w*|bfloat16|half|double|long|short|bool|complex\d*
torch(\._C)?              c(float|double)|qu?int\w+|bits\w+|Size|device|dtype|layout
torch(\._C)?              memory_format|qscheme|Generator|finfo|strided|sparse_\w+|_?mkldnn
torch(\._C)?              jagged|\w+_format|per_(tensor|channel)_\w+|Tensor|\w+Tensor|\w+Storage
torch\.torch_version      TorchVersion
torch\.serialization      _get_layout
torch\._utils             _rebuild_\w+
torch\._tensor            Tensor|_rebuild_from_type\w*
torch\.storage            \w+Storage
torch\.(nn|optim|amp|cuda\.amp|distributions|distributed\.fsdp)(\.\w+)*  [\w.]+
torch\.utils\.data(\.\w+)*  [A-Z_]\w*(\.\w+)*
torch\.(distributed|multiprocessing)(\.\w+)*  ReduceOp(\.\w+)*|ProcessGroup\w*
""".strip().splitlines()
)
_STRICT_PACKAGES = {"numpy", "torch", "__builtin__", "__builtins__", "copy_reg"}
# Python 2's standard library, as far as Python 3 lacks it, and packages that load or run code.
_REFUSED_PACKAGES = set(
    "commands cPickle popen2 urllib2 httplib distutils imp dill cloudpickle joblib jsonpickle "
    "pip setuptools pkg_resources IPython paramiko fabric pexpect plumbum requests".split()
)
# Other packages may import these modules: some.package.os.system is os.system.
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
    """Whether an object of this name may be ignored."""
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
        # Attributes such as __globals__ and __class__ lead out of any package.
        or any(part.endswith("__") for part in hidden)
    )


def may_be_called(module: str) -> bool:
    """Whether a pickle may call names of this module; layers of a network are never called."""
    return not module.startswith("torch.nn.")
