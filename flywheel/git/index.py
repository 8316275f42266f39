"""The Python package index as this machine has it configured, and a minimal client of it.

Settings are those of the ordinary clients: uv's variables first, then uv's configuration files,
pip's variables, pip's configuration files, else the public index. The client speaks the Simple
API, JSON or HTML, over http(s) and file URLs; it never runs a package's code.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import http.client
import json
import os
import re
import ssl
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any

from packaging.utils import canonicalize_name

from flywheel.core.errors import RepositoryError

_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_TIMEOUT = 60
_PIECE = 1 << 16
_DEFAULT = "https://pypi.org/simple"
_PASSED = re.compile(
    r"UV_(?:INDEX\w*|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|INSECURE_HOST|NATIVE_TLS"
    r"|SYSTEM_CERTS|HTTP_TIMEOUT|OFFLINE)|PIP_(?:TRUSTED_HOST|CERT)|SSL_CERT_(?:FILE|DIR)"
    r"|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(?:HTTPS?|ALL|NO)_PROXY|(?:https?|all|no)_proxy"
)
"""Variables of the user's that configure the index; nothing else of his environment is passed."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where packages come from on this machine."""

    index: str
    """URL of the main index's Simple API."""
    extra: tuple[str, ...]
    """Further indexes."""
    find_links: tuple[str, ...]
    """Folders or pages with package files."""
    certificates: Path | None
    """Bundle of certificate authorities, None for the system's."""

    variables: tuple[tuple[str, str], ...] = ()
    """Environment that gives uv the same configuration; it may hold the indexes' credentials."""

    @property
    def local_paths(self) -> tuple[Path, ...]:
        """Existing folders and files of this machine that the settings name."""
        found = [_folder(place) for place in (self.index, *self.extra)]
        found += [_local(place) for place in self.find_links]
        found.append(self.certificates)
        return tuple(dict.fromkeys(path for path in found if path is not None and path.exists()))


@dataclass(frozen=True, slots=True)
class IndexFile:
    """One file of one package on an index."""

    filename: str
    """Name, which says package, version and kind."""
    url: str
    """Where it is downloaded."""
    sha256: str | None
    """Its checksum, None when the index gives none."""
    yanked: bool
    """True when its authors withdrew it."""
    uploaded: int | None = None
    """Seconds since 1970 at which it was published, None where the listing does not say."""


def index_settings(environ: Mapping[str, str] | None = None) -> IndexSettings:
    """Read the machine's index configuration from the environment and pip's files."""
    env = os.environ if environ is None else environ
    uv, pip = _uv_configuration(env), _pip_configuration(env)
    named = any(env.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX"))
    main = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL")
    extra = (env.get("UV_INDEX") or env.get("UV_EXTRA_INDEX_URL") or "").split()
    links = env.get("UV_FIND_LINKS", "").replace(",", " ").split() or list(uv.find_links)
    if not named and (uv.main or uv.extra):
        main, extra = uv.main, [*extra, *uv.extra]
    elif not named:
        main = env.get("PIP_INDEX_URL") or pip.get("index-url")
        extra += (env.get("PIP_EXTRA_INDEX_URL") or pip.get("extra-index-url", "")).split()
    links += (env.get("PIP_FIND_LINKS") or pip.get("find-links", "")).split()
    bundle = env.get("SSL_CERT_FILE") or env.get("PIP_CERT") or pip.get("cert")
    variables = {name: value for name, value in env.items() if _PASSED.fullmatch(name)}
    if bundle:
        variables.setdefault("SSL_CERT_FILE", bundle)
    if links and not env.get("UV_FIND_LINKS"):
        variables["UV_FIND_LINKS"] = ",".join(links)
    if not named:
        if main:
            variables["UV_DEFAULT_INDEX"] = main
        # pip ignores an extra index whose folder is not there; uv would stop.
        there = [url for url in extra if (path := _local(url)) is None or path.is_dir()]
        if there:
            variables["UV_INDEX"] = " ".join(there)
            if not uv.extra:
                # As pip does: the best version of all indexes, not of the first that has any.
                variables.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return IndexSettings(
        index=_unnamed(main or _DEFAULT),
        extra=tuple(_unnamed(url) for url in dict.fromkeys(extra)),
        find_links=tuple(dict.fromkeys(links)),
        certificates=Path(bundle) if bundle else None,
        variables=tuple(sorted(variables.items())),
    )


def files_of(name: str, settings: IndexSettings) -> list[IndexFile]:
    """Every file of a package on all indexes; empty when no index knows the package.

    Raises `RepositoryError` when no index can be reached.
    """
    found: list[IndexFile] = []
    failures: list[str] = []
    reached = False
    for index in (settings.index, *settings.extra):
        page = f"{index.rstrip('/')}/{canonicalize_name(name)}/"
        try:
            found += _listing(page, settings)
            reached = True
        except urllib.error.HTTPError as error:
            reached = reached or error.code in {404, 410}
            if error.code not in {404, 410}:
                failures.append(f"{_shown(index)}: {error}")
        except FileNotFoundError:
            folder = _local(index)
            reached = reached or (folder is not None and folder.is_dir())
        except (OSError, ValueError) as error:
            failures.append(f"{_shown(index)}: {error}")
    if not found and not reached:
        raise RepositoryError(
            f"pypi:{name}: the package index cannot be reached",
            cause="; ".join(failures) or None,
            hint="check the network, or name an index in UV_DEFAULT_INDEX or PIP_INDEX_URL",
        )
    return found


def upload_times(name: str, settings: IndexSettings) -> dict[str, int]:
    """File name to the second since 1970 at which it was published, for what an index tells.

    Many an index lists files without their times and tells them beside its Simple API, at
    `/pypi/NAME/json`. Empty where none does: times are wanted, not needed.
    """
    found: dict[str, int] = {}
    for index in (settings.index, *settings.extra):
        root, simple, _ = index.rstrip("/").rpartition("/simple")
        if not simple:
            continue
        try:
            data, _, _ = _open(f"{root}/pypi/{canonicalize_name(name)}/json", settings)
            releases = json.loads(data)["releases"].values()
            pairs = [(str(item["filename"]), _uploaded(item)) for one in releases for item in one]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue
        found |= {filename: seconds for filename, seconds in pairs if seconds is not None}
    return found


def _uploaded(item: Mapping[str, object]) -> int | None:
    text = item.get("upload-time") or item.get("upload_time_iso_8601")
    try:
        return int(datetime.fromisoformat(str(text)).timestamp()) if text else None
    except ValueError:
        return None


def download(
    url: str,
    settings: IndexSettings,
    sink: IO[bytes],
    *,
    largest: int,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> str:
    """Stream the content at a URL into `sink`; its SHA-256. `on_bytes` hears how much is there.

    Raises `OSError` when it cannot be had, `ValueError` beyond `largest` bytes.
    """
    digest, count = hashlib.sha256(), 0
    with _request(url, settings) as answer:
        while piece := answer.read(_PIECE):
            count += len(piece)
            if count > largest:
                raise ValueError(f"it is larger than {largest >> 20} MiB")
            digest.update(piece)
            sink.write(piece)
            on_bytes(count)
    return digest.hexdigest()


def _listing(page: str, settings: IndexSettings) -> list[IndexFile]:
    local = _local(page)
    if local is not None:
        data, kind, base = (local / "index.html").read_bytes(), "text/html", page
    else:
        data, kind, base = _open(page, settings)
    if "json" in kind:
        try:
            return [
                IndexFile(
                    filename=str(item["filename"]),
                    url=urllib.parse.urljoin(base, str(item["url"])),
                    sha256=item.get("hashes", {}).get("sha256"),
                    yanked=bool(item.get("yanked")),
                    uploaded=_uploaded(item),
                )
                for item in json.loads(data)["files"]
            ]
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError("its listing is not one of the Simple API") from error
    parser = _Anchors(base)
    parser.feed(data.decode(errors="replace"))
    return parser.files


class _Anchors(HTMLParser):
    """Reads the links of a Simple API page (PEP 503)."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base
        self.files: list[IndexFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep one link."""
        values = dict(attrs)
        href = values.get("href")
        if tag != "a" or not href:
            return
        url, _, fragment = urllib.parse.urljoin(self.base, href).partition("#")
        digest = re.search(r"sha256=([0-9a-f]{64})", fragment)
        self.files.append(
            IndexFile(
                filename=urllib.parse.unquote(urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1]),
                url=url,
                sha256=digest.group(1) if digest else None,
                yanked="data-yanked" in values,
            )
        )


def _open(url: str, settings: IndexSettings) -> tuple[bytes, str, str]:
    """Content, content type and final address of a URL."""
    with _request(url, settings) as answer:
        return answer.read(), answer.headers.get_content_type(), answer.url


@contextmanager
def _request(url: str, settings: IndexSettings) -> Iterator[Any]:  # urllib's own answers
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https", "file"}:
        raise ValueError(f"not a web or file address: {_shown(url)}")
    request = urllib.request.Request(
        _without_user(url), headers={"Accept": _ACCEPT, "User-Agent": "flywheel"}
    )
    if parts.username:
        user = urllib.parse.unquote(parts.username)
        secret = f"{user}:{urllib.parse.unquote(parts.password or '')}"
        request.add_unredirected_header(
            "Authorization", "Basic " + base64.b64encode(secret.encode()).decode()
        )
    context = _context(settings.certificates) if parts.scheme == "https" else None
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT, context=context) as answer:
            yield answer
    except http.client.HTTPException as error:
        raise OSError(f"no whole answer: {error!r}") from error


@cache
def _context(certificates: Path | None) -> ssl.SSLContext:
    bundle = certificates if certificates is not None and certificates.is_file() else None
    return ssl.create_default_context(cafile=bundle)


@dataclass(frozen=True, slots=True)
class _UvConfiguration:
    main: str | None
    extra: tuple[str, ...]
    find_links: tuple[str, ...]


def _uv_configuration(env: Mapping[str, str]) -> _UvConfiguration:
    """What uv's own configuration file says of indexes: the user's, else the system's."""
    config = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "/nonexistent")) / ".config")
    places = [config / "uv/uv.toml", Path("/etc/uv/uv.toml")]
    if env.get("UV_CONFIG_FILE"):
        places = [Path(env["UV_CONFIG_FILE"])]
    for place in places:
        try:
            table = tomllib.loads(place.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            continue
        pip = table.get("pip", {})
        main = table.get("index-url") or pip.get("index-url")
        extra = [*table.get("extra-index-url", []), *pip.get("extra-index-url", [])]
        for index in table.get("index", []):
            if index.get("default"):
                main = index["url"]
            elif not index.get("explicit"):
                extra.append(index["url"])
        links = [*table.get("find-links", []), *pip.get("find-links", [])]
        return _UvConfiguration(main, tuple(extra), tuple(links))
    return _UvConfiguration(None, (), ())


def _pip_configuration(env: Mapping[str, str]) -> dict[str, str]:
    """The `[global]` settings of pip's configuration files, later files over earlier ones."""
    home = Path(env.get("HOME", "/nonexistent"))
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    places = [Path("/etc/pip.conf"), home / ".pip/pip.conf", config / "pip/pip.conf"]
    if env.get("PIP_CONFIG_FILE"):
        places.append(Path(env["PIP_CONFIG_FILE"]))
    parser = configparser.RawConfigParser(strict=False)
    for place in places:
        try:
            parser.read(place, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue
    return dict(parser["global"]) if parser.has_section("global") else {}


def _unnamed(url: str) -> str:
    """Drop the name of `name=URL`, which uv allows."""
    return re.sub(r"^[\w.-]+=(?=\w+:)", "", url)


def _local(place: str) -> Path | None:
    """The path of this machine that a URL or path means, None for a web address."""
    parts = urllib.parse.urlsplit(place)
    if parts.scheme == "file":
        return Path(urllib.parse.unquote(parts.path))
    return Path(place) if place.startswith("/") else None


def _folder(url: str) -> Path | None:
    """The folder to show for an index kept in a folder: its pages may link to its siblings."""
    path = _local(url)
    return path.parent if path is not None and path.name == "simple" else path


def _without_user(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


_shown = _without_user
"""An address as it may be shown: without the credentials in it."""
