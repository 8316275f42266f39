"""Finding a repository's licence: an SPDX expression, or None when nothing is certain.

Looked at in order: what the package's metadata declares (PEP 639 expression, then a known
name), its classifiers, then the text of its licence file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

METADATA = ("pyproject.toml", "PKG-INFO", "setup.cfg", "setup.py")
"""Files, at the root, that declare a licence."""

LICENSE_FILE = re.compile(r"(un)?licen[sc]es?([.-][\w.-]+)?|copying([.-][\w.-]+)?", re.IGNORECASE)
"""Names of licence files at the root."""

_NAMES = {
    "mit": "MIT",
    "mit license": "MIT",
    "the mit license": "MIT",
    "expat": "MIT",
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "new bsd": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "3-clause bsd": "BSD-3-Clause",
    "bsd-3": "BSD-3-Clause",
    "simplified bsd": "BSD-2-Clause",
    "bsd 2-clause": "BSD-2-Clause",
    "isc license": "ISC",
    "isc": "ISC",
    "mpl 2.0": "MPL-2.0",
    "mozilla public license 2.0": "MPL-2.0",
    "psf": "PSF-2.0",
    "psf license": "PSF-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "unlicense": "Unlicense",
    "the unlicense": "Unlicense",
}
_IDENTIFIERS = (
    *("MIT", "MIT-0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "MPL-2.0"),
    *("GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later"),
    *("LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"),
    *("AGPL-3.0-only", "AGPL-3.0-or-later", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
    *("BSL-1.0", "CC0-1.0", "EPL-2.0", "EUPL-1.2", "WTFPL", "ZPL-2.1", "Artistic-2.0"),
)
_CLASSIFIERS = {
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
}
_CLASSIFIER = re.compile(r"License :: (?:OSI Approved :: )?([^\"'\n\r]+)")
_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+(?: +(?:AND|OR|WITH) +[A-Za-z0-9.+-]+)*")


def find_license(files: Mapping[str, str]) -> str | None:
    """The SPDX expression that the root files (name to text) declare, None when unknown."""
    metadata = "\n".join(files.get(name, "") for name in METADATA)
    classifiers = {name.strip().rstrip(",") for name in _CLASSIFIER.findall(metadata)}
    declared = _declared(files)
    if declared is None and len(classifiers) > 1:
        # They may mean a choice or a sum: nobody can tell which.
        return None
    return (
        declared
        or next((_CLASSIFIERS[name] for name in classifiers if name in _CLASSIFIERS), None)
        or _worded([text for name, text in files.items() if LICENSE_FILE.fullmatch(name)])
    )


def _declared(files: Mapping[str, str]) -> str | None:
    """What the metadata says in a field made for it."""
    candidates: list[str] = []
    try:
        project = tomllib.loads(files.get("pyproject.toml", ""))
    except tomllib.TOMLDecodeError:
        project = {}
    for table in (project.get("project"), project.get("tool", {}).get("poetry")):
        match table:
            case {"license": str(text)} | {"license": {"text": str(text)}}:
                candidates.append(text)
    head = files.get("PKG-INFO", "").partition("\n\n")[0]
    candidates += re.findall(r"^License(?:-Expression)?: (.+)$", head, re.MULTILINE)
    candidates += re.findall(r"^license\s*=\s*(.+)$", files.get("setup.cfg", ""), re.MULTILINE)
    candidates += re.findall(r"\blicense\s*=\s*[\"']([^\"'\n]+)", files.get("setup.py", ""))
    for text in candidates:
        found = _spdx(text.strip())
        if found:
            return found
    return None


def _spdx(text: str) -> str | None:
    """An expression of known identifiers, or a name people use for one."""
    known = {name.lower(): name for name in _IDENTIFIERS}
    if _EXPRESSION.fullmatch(text):
        words = text.split()
        if all(word.lower() in known for word in words[::2]) and "WITH" not in words:
            return " ".join(known.get(word.lower(), word) for word in words)
    return _NAMES.get(text.lower().rstrip("."))


def _worded(texts: list[str]) -> str | None:
    found = sorted({name for text in texts if (name := _recognise(text))})
    return found[0] if len(found) == 1 else None


def _recognise(text: str) -> str | None:
    """Recognise one licence's text by phrases that only it has."""
    words = re.sub(r"[^a-z0-9.]+", " ", text.lower())
    head = words[:600]
    # The text of a GNU licence cannot tell `only` from `or later`: the narrower is assumed.
    match head:
        case _ if "gnu affero general public license" in head:
            return "AGPL-3.0-only"
        case _ if "gnu lesser general public license" in head or "gnu library general" in head:
            return "LGPL-3.0-only" if "version 3" in head else "LGPL-2.1-only"
        case _ if "gnu general public license" in head:
            return "GPL-3.0-only" if "version 3" in head else "GPL-2.0-only"
        case _ if "mozilla public license version 2.0" in head:
            return "MPL-2.0"
        case _ if "apache license" in head and "version 2.0" in head:
            return "Apache-2.0"
    if "python software foundation license version 2" in words:
        return "PSF-2.0"
    if "this is free and unencumbered software released into the public domain" in words:
        return "Unlicense"
    if "permission is hereby granted free of charge to any person obtaining a copy" in words:
        return "MIT" if "above copyright notice and this permission notice" in words else "MIT-0"
    if "permission to use copy modify and or distribute this software for any purpose" in words:
        return "ISC" if "copyright notice" in words else "0BSD"
    if "redistribution and use in source and binary forms" in words:
        third = "endorse or promote products" in words
        return "BSD-3-Clause" if third else "BSD-2-Clause"
    return None
