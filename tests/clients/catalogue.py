"""The clients that `scripts/clients` tries: what each of them needs, and how to run its example."""

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.clients.workbench import Workbench, environment, filled_in, this_python

JAVA_JARS = (Path("/usr/share/java/okhttp.jar"), Path("/usr/share/java/okio.jar"))
"""Where Debian's libokhttp-java installs them."""

Need = Callable[[Workbench], str | None]
"""Returns what this machine lacks, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A program that uploads a photo. Its arguments are the service's URL, the photo's path and the label."""

    name: str
    example: str
    """The name of its file in docs/clients."""
    command: tuple[str, ...]
    """The command before the three arguments; it is run in the workbench."""
    needs: tuple[Need, ...]
    prepare: tuple[tuple[str, ...], ...] = ()
    """Commands to run first; `{url}` stands for the service's URL."""
    version: tuple[str, ...] = ()
    """A command that prints the client's version."""
    keeps_name: bool = True
    """Whether it sends the photo's file name."""

    def missing(self, workbench: Workbench) -> str | None:
        """Return the first thing that this machine lacks, or None."""
        return next((lack for need in self.needs if (lack := need(workbench))), None)

    def version_found(self, workbench: Workbench) -> str:
        """Return the first line that the version command prints."""
        if not self.version:
            return ""
        ended = subprocess.run(
            filled_in(self.version, workbench),
            cwd=workbench.folder,
            env=environment(workbench),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return (ended.stdout or ended.stderr).partition("\n")[0].strip()


def program(name: str, *, package: str | None = None) -> Need:
    """Return the need for a program on the PATH; `package` is the Debian package that contains it."""
    return lambda _: None if shutil.which(name) else f"{name} is not installed" + (f" ({package})" if package else "")


def python_module(name: str) -> Need:
    """Return the need for a Python module in the environment of the tests."""
    return lambda _: None if importlib.util.find_spec(name) else f"the Python package {name} is not installed"


def npm_package(name: str) -> Need:
    """Return the need for an npm package in the workbench."""
    return lambda bench: None if bench.node_package(name).is_dir() else f"the npm package {name} is not installed"


def jars(*paths: Path) -> Need:
    """Return the need for Java archives."""
    lacking = [path.name for path in paths if not path.exists()]
    return lambda _: f"{', '.join(lacking)} not found (Debian: libokhttp-java)" if lacking else None


def perl_module(name: str, *, package: str) -> Need:
    """Return the need for a Perl module."""

    def missing(_: Workbench) -> str | None:
        found = subprocess.run(["perl", f"-M{name}", "-e", "1"], capture_output=True, check=False, timeout=60)  # noqa: S607 - the one on the PATH
        return None if found.returncode == 0 else f"the Perl module {name} is not installed (Debian: {package})"

    return missing


def generated_python(bench: Workbench) -> str | None:
    """Return what is missing if the workbench lacks openapi-python-client, or None."""
    installed = bench.python.with_name("openapi-python-client").exists()
    return None if installed else "the Python package openapi-python-client is not installed"


def _node_version(package: str) -> tuple[str, ...]:
    return ("node", "-p", f"'{package} ' + require('{package}/package.json').version")


def _python_version(package: str) -> tuple[str, ...]:
    return (this_python(), "-c", f"import importlib.metadata as m; print('{package}', m.version('{package}'))")


CURL = program("curl")
CURL_VERSION = ("sh", "-c", "curl --version | cut -d' ' -f1,2")
NODE = program("node")
JAVA = program("java", package="Debian: default-jdk")

PROGRAMS = (
    Client(
        name="curl",
        example="curl.sh",
        command=("sh", "curl.sh"),
        needs=(CURL,),
        version=CURL_VERSION,
    ),
    Client(
        name="curl --http2",
        example="curl.sh",
        command=("sh", "-c", 'curl() { command curl --http2 "$@"; }; . ./curl.sh', "curl.sh"),
        needs=(CURL,),
    ),
    Client(
        name="requests",
        example="with_requests.py",
        command=(this_python(), "with_requests.py"),
        needs=(python_module("requests"),),
        version=_python_version("requests"),
    ),
    Client(
        name="httpx",
        example="with_httpx.py",
        command=(this_python(), "with_httpx.py"),
        needs=(python_module("httpx"),),
        version=_python_version("httpx"),
    ),
    Client(
        name="aiohttp",
        example="with_aiohttp.py",
        command=(this_python(), "with_aiohttp.py"),
        needs=(python_module("aiohttp"),),
        version=_python_version("aiohttp"),
    ),
    Client(
        name="Node.js fetch",
        example="fetch.mjs",
        command=("node", "fetch.mjs"),
        needs=(NODE,),
        version=("node", "--version"),
    ),
    Client(
        name="axios",
        example="axios.mjs",
        command=("node", "axios.mjs"),
        needs=(NODE, npm_package("axios")),
        version=_node_version("axios"),
    ),
    Client(
        name="form-data, stream",
        example="form-data.mjs",
        command=("node", "form-data.mjs"),
        needs=(NODE, npm_package("form-data")),
        version=_node_version("form-data"),
    ),
    Client(
        name="form-data, buffer",
        example="form-data-buffer.mjs",
        command=("node", "form-data-buffer.mjs"),
        needs=(NODE, npm_package("form-data")),
        version=_node_version("form-data"),
        keeps_name=False,
    ),
    Client(
        name="tus-js-client",
        example="tus.mjs",
        command=("node", "tus.mjs"),
        needs=(NODE, npm_package("tus-js-client")),
        version=_node_version("tus-js-client"),
    ),
    Client(
        name="Java HttpClient",
        example="HttpClientUpload.java",
        command=("java", "HttpClientUpload.java"),
        needs=(JAVA,),
        version=("java", "--version"),
    ),
    Client(
        name="OkHttp",
        example="OkHttpUpload.java",
        command=("java", "-cp", ":".join(map(str, JAVA_JARS)), "OkHttpUpload.java"),
        needs=(JAVA, jars(*JAVA_JARS)),
        version=("sh", "-c", f"basename $(readlink -f {JAVA_JARS[0]})"),
    ),
    Client(
        name="Go",
        example="upload.go",
        command=("go", "run", "upload.go"),
        needs=(program("go", package="Debian: golang-go"),),
        version=("go", "version"),
    ),
    Client(
        name="PHP",
        example="upload.php",
        command=("php", "upload.php"),
        needs=(program("php", package="Debian: php-cli, php-curl"),),
        version=("php", "--version"),
    ),
    Client(
        name="Ruby",
        example="upload.rb",
        command=("ruby", "upload.rb"),
        needs=(program("ruby", package="Debian: ruby"),),
        version=("ruby", "--version"),
    ),
    Client(
        name="Perl LWP",
        example="upload.pl",
        command=("perl", "upload.pl"),
        needs=(program("perl"), perl_module("LWP::UserAgent", package="libwww-perl")),
        version=("perl", "-MLWP::UserAgent", "-e", 'print "LWP $LWP::UserAgent::VERSION"'),
    ),
    Client(
        name="openapi-typescript",
        example="typed.ts",
        command=("node", "typed.js"),
        needs=(NODE, npm_package("openapi-typescript"), npm_package("typescript")),
        prepare=(
            ("npx", "openapi-typescript", "{url}/openapi.json", "--output", "recipe-api.d.ts"),
            ("npx", "tsc", "--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck", "typed.ts"),
        ),
        version=_node_version("openapi-typescript"),
    ),
    Client(
        name="openapi-python-client",
        example="typed_client.py",
        command=("{python}", "typed_client.py"),
        needs=(generated_python,),
        prepare=(
            (
                *("{python}", "-m", "openapi_python_client", "generate", "--url", "{url}/openapi.json"),
                *("--meta", "none", "--output-path", "recipe_api_client", "--overwrite"),
            ),
        ),
        version=("{python}", "-m", "openapi_python_client", "--version"),
    ),
)
"""The clients that are programs; those that run in a browser are in `browser.py`."""
