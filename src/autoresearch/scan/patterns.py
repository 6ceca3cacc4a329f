"""What the scan looks for in a line, by kind of language. Regular expressions over one line without its comment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from autoresearch.taskfile.schema import FLAGS as ORDER
from autoresearch.taskfile.schema import LOCK_FILES

OF_CODE = ("assertion", "validation", "error_handling", "import", "network", "subprocess", "eval", "seeds")
"""What means nothing in a docstring."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A line that it matches gets the flag `name`, with `words`."""

    name: str
    regex: re.Pattern[str]
    words: str


@dataclass(frozen=True, slots=True)
class Known:
    """The patterns for lines that a diff takes away, and for those it adds."""

    removed: tuple[Pattern, ...] = ()
    added: tuple[Pattern, ...] = ()


def _p(name: str, regex: str, words: str) -> Pattern:
    return Pattern(name, re.compile(regex), words)


_CHECKED = (
    _p(
        "assertion",
        r"\b(?:debug_|static_)?assert\w*|\b(?:ASSERT|EXPECT|CHECK|REQUIRE)\w*\s*\(|\bexpect\s*\(|\brequire\s*\((?!\s*['\"`])"
        r"|\brequire\.\w+\s*\(|\b(?:ensure|verify)\w*!?\s*\(|\bcheck(?!out|sum|point|box|_call|_output|ed|er)\w*\s*\("
        r"|\bt\.(?:Error|Fatal|Fail)\w*\s*\(|\.should\b",
        "an assertion",
    ),
    _p(
        "validation",
        r"^raise\b|[:;{]\s*raise\b|\bthrow\b|\b(?:validat|sanitiz)\w*\s*\(|\bpanic!?\s*\(|\bunreachable!"
        r"|\b(?:isfinite|isnan|isclose|allclose|array_equal)\s*\(|\b(?:sys\.exit|os\.Exit|process\.exit|abort)\s*\((?!\s*0?\s*\))",
        "a validation",
    ),
    _p(
        "error_handling",
        r"^\}?\s*(?:try|except|catch|finally|rescue)\b|\.catch\s*\(|\berr\s*!=\s*nil\b|\bset -\w*e|\bpipefail\b",
        "error handling",
    ),
)
_SWALLOWED = (
    _p(
        "error_handling",
        r"^except\b[^#]*:\s*(?:pass|continue|\.\.\.)\s*$|\bcatch\s*(?:\([^)]*\)\s*)?\{\s*\}|\|\|\s*(?:true|:)\s*(?:$|;)"
        r"|\bset \+e\b|\bsuppress\s*\(|\bexcept\s*:|\bexcept\s+BaseException\b",
        "errors are swallowed",
    ),
    _p(
        "error_handling",
        r"\bos\._exit\s*\(|\b(?:sys\.|process\.|os\.)?[eE]xit\s*\(\s*0?\s*\)|\batexit\b",
        "it ends the process by itself",
    ),
    _p(
        "assertion",
        r"\bdef\s+__(?:eq|ne|lt|le|gt|ge|bool|float|contains)__\b|\boperator\s*[=!]=",
        "a comparison is redefined",
    ),
    _p(
        "tests",
        r"\bmark\.(?:skip|skipif|xfail)\b|\bunittest\.(?:skip\w*|expectedFailure)\b|\bpytest\.(?:skip|xfail|importorskip)\s*\("
        r"|\b(?:it|test|describe|suite)\.(?:skip|only|todo)\b|\bx(?:it|describe|test)\s*\(|\bt\.Skip\w*\s*\(|#\[ignore\b|@Ignore\b"
        r"|@Disabled\b|\bGTEST_SKIP\b|\bskipTest\s*\(",
        "a test is skipped",
    ),
)
_URL = _p("network", r"\b(?:https?|ftp|wss?)://", "an address")
_REACHES = (
    _p(
        "network",
        r"\b(?:socket|urllib\d?|requests|httpx|aiohttp|http\.client|ftplib|smtplib|telnetlib|websockets?|paramiko|grpc|boto3"
        r"|xmlrpc|socketserver|open_connection|urlopen|urlretrieve|hf_hub_download|snapshot_download|torch\.hub|getaddrinfo"
        r"|XMLHttpRequest|WebSocket|EventSource|axios|dgram|reqwest|hyper::|TcpStream|UdpSocket|std::net|curl_easy\w*|libcurl"
        r"|HttpClient|URLSession|URLConnection)\b|\bfetch\s*\(\s*['\"`]|\bnet\.(?:Dial|Listen|connect|createConnection)\b"
        r"|\bhttps?\.(?:Get|Post|get|request)\s*\(|['\"](?:node:)?(?:https?|net|net/http|tls)['\"]"
        r"|(?:^|[;&|(`\"'\s])(?:curl|wget|nc|ncat|ssh|scp|rsync)\s+[-\w./$\"']|/dev/tcp/",
        "network",
    ),
    _URL,
    _p(
        "subprocess",
        r"\bsubprocess\b|\bchild_process\b|\bcreate_subprocess_\w+|\bos\.(?:system|popen|exec\w+|spawn\w+|fork\w*|posix_spawn\w*|kill\w*)\b"
        r"|\bfrom\s+os\s+import\b.*\b(?:system|popen|exec\w+|spawn\w+|fork|kill)\b|\b(?:popen|execSync|spawnSync|execFile\w*)\s*\("
        r"|\bCommand::new\b|\bexec\.Command\w*|\bos/exec\b|\bProcessBuilder\b|\.getRuntime\(\)|\b(?:shell_exec|proc_open|passthru)\s*\("
        r"|\bpty\.(?:spawn|fork)\b|\b(?:Deno|Bun)\.(?:run|spawn|Command)\b|(?<![.\w])(?:system|vfork|fork|execl\w*|execv\w*)\s*\(",
        "another process",
    ),
    _p("subprocess", r"['\"`\s(]/proc/|\bptrace\b|\bprocess_vm_\w+|\bpsutil\b", "it looks at other processes"),
    _p(
        "eval",
        r"(?<![.\w])(?:eval|exec|compile|__import__|execfile)\s*\(|\bnew\s+Function\s*\(|\bvm\.(?:run\w+|Script)\b"
        r"|\b(?:pickle|cPickle|dill|cloudpickle|marshal|shelve|joblib)\.(?:loads?|open)\b|\b(?:ctypes|cffi|dlopen|dlsym|libloading)\b"
        r"|\b(?:instance_eval|class_eval|module_eval)\b|\bimportlib\b|\brunpy\b|\bfrom\s+(?:pickle|marshal|dill)\s+import\b",
        "code is made while it runs",
    ),
    _p(
        "eval",
        r"\bsys\.(?:modules|_getframe|settrace|setprofile|meta_path|path_hooks|addaudithook)\b|\b__builtins__\b|\bbuiltins\b"
        r"|\bgc\.get_(?:objects|referrers|referents)\b|\binspect\.(?:stack|currentframe|getouterframes)\b|\b(?:globals|locals)\s*\(\)\s*\["
        r"|\bmonkeypatch\b|\bmock\.patch\b|\bgetattr\s*\(\s*(?:os|sys|builtins|subprocess|importlib|time)\b|\.__(?:dict__\[|globals__|code__|subclasses__)"
        r"|\bsetattr\s*\(\s*(?:os|sys|time|builtins|json|math)\b",
        "it reaches into the running program",
    ),
    _p(
        "dependency",
        r"\b(?:pip3?|uv|conda|mamba|npm|pnpm|yarn|apt|apt-get|brew|gem|cargo|go)\s+(?:\w+\s+)?(?:install|add|get)\b",
        "installs",
    ),
)
_IMPORTS = {
    "script": _p(
        "import", r"^import\b.*|\brequire\s*\(\s*['\"`][^'\"`]*|\bimport\s*\([^)]*|^export\b.*\bfrom\b.*", "a new import"
    ),
    "c": _p("import", r"^#\s*include\s*[<\"][^>\"]*|^#?\s*import\b.*", "a new include"),
    "braces": _p(
        "import",
        r"^(?:pub\s+)?use\s+[\w:]+|^import\b[^;]*|^using\s+[\w.]+|^(?:\w+\s+|_\s+)?\"[\w.~-]+(?:/[\w.~-]+)*\"$",
        "a new import",
    ),
    "shell": _p(
        "import", r"^(?:source|\.)\s+\S+|^require(?:_relative)?\s*\(?['\"][^'\"]*|^use\s+[\w:]+", "another file is read in"
    ),
    "query": _p("import", r"\brequire\s*\(?\s*['\"][^'\"]*|^import\s+\S+|\bATTACH\b", "a new import"),
}

SEED = re.compile(r"(?i)seed|random_?state|default_rng|prngkey|\bsrand\b")
GUARD = re.compile(
    r"^\}?\s*(?:else\s+)?(?:if|elif|unless|guard)\b.*(?:\bnot\b|!|\bNone\b|\bnull\b|\bnil\b|\bundefined\b|\bNaN\b)"
)
LEAVES = re.compile(r"\b(?:return|continue|break|exit|die|abort)\b")
_TEST_PATH = re.compile(
    r"(?:^|/)(?:tests?|__tests__|specs?|testing)/|(?:^|/)(?:test_[^/]*\.\w+|[^/]*_(?:test|tests|spec)\.\w+|[^/]*\.(?:test|spec)\.\w+"
    r"|[^/]*Tests?\.(?:java|kt|cs|swift|scala)|conftest\.py)$"
)
_MANIFESTS = frozenset(
    [
        *LOCK_FILES,
        *("go.mod", "Cargo.toml", "setup.py", "setup.cfg", "Pipfile", "Gemfile", "composer.json", "composer.lock", "pom.xml"),
        *(
            "build.gradle",
            "build.gradle.kts",
            "environment.yaml",
            "pixi.toml",
            "pixi.lock",
            "deno.lock",
            "vcpkg.json",
            "conanfile.txt",
        ),
    ]
)
_REQUIREMENTS = re.compile(r"(?:^|/)(?:requirements[\w.-]*\.(?:txt|in)|requirements/[^/]+\.txt|constraints[\w.-]*\.txt)$")
LEFT_OUT = re.compile(r"pragma:\s*no\s*cover|(?:istanbul|c8|v8)\s+ignore|\bnocov\b|LCOV_EXCL|NOLINT|noqa|type:\s*ignore")
LEFT_OUT_WORDS = ("cover", "ignore", "nocov", "LCOV", "NOLINT", "noqa")


@cache
def known(family: str) -> Known:
    """The patterns for a kind of language; settings are looked through for addresses and installs, plain data for nothing."""
    if family == "data":
        return Known()
    if family == "settings":
        return Known(added=(_URL, _REACHES[-1]))
    more = (_IMPORTS[family],) if family in _IMPORTS else ()
    return Known(_CHECKED, (*_SWALLOWED, *more, *_REACHES))


def is_test(path: str) -> bool:
    return _TEST_PATH.search(path) is not None


def is_manifest(path: str) -> bool:
    return path.rpartition("/")[2] in _MANIFESTS or _REQUIREMENTS.search(path) is not None


__all__ = [
    "LEAVES",
    "LEFT_OUT",
    "LEFT_OUT_WORDS",
    "OF_CODE",
    "ORDER",
    "SEED",
    "Known",
    "Pattern",
    "is_manifest",
    "is_test",
    "known",
]
