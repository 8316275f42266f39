from __future__ import annotations

import pytest

from flywheel.git.license import find_license

_MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this. "
_MIT += "The above copyright notice and this permission notice shall be included."
_BSD = "Redistribution and use in source and binary forms, with or without modification, are ok."


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pyproject.toml": '[project]\nlicense = "MIT OR Apache-2.0"\n'}, "MIT OR Apache-2.0"),
        ({"pyproject.toml": '[project]\nlicense = { text = "MIT License" }\n'}, "MIT"),
        ({"pyproject.toml": '[tool.poetry]\nlicense = "Apache-2.0"\n'}, "Apache-2.0"),
        ({"PKG-INFO": "Metadata-Version: 2.4\nLicense-Expression: ISC\n\nText"}, "ISC"),
        ({"setup.cfg": "[metadata]\nlicense = BSD-3-Clause\n"}, "BSD-3-Clause"),
        ({"setup.py": "setup(license='MPL 2.0')"}, "MPL-2.0"),
        ({"setup.py": '"License :: OSI Approved :: MIT License",'}, "MIT"),
        ({"LICENSE.txt": _MIT}, "MIT"),
        ({"LICENSE": _BSD}, "BSD-2-Clause"),
        ({"LICENSE": _BSD + " used to endorse or promote products"}, "BSD-3-Clause"),
        ({"COPYING": "GNU LESSER GENERAL PUBLIC LICENSE Version 3, 29 June"}, "LGPL-3.0-only"),
        ({"LICENSE": "GNU AFFERO GENERAL PUBLIC LICENSE Version 3"}, "AGPL-3.0-only"),
        ({"UNLICENSE": "This is free and unencumbered software released into the public domain."},
         "Unlicense"),
        ({"LICENSE": _MIT, "LICENSE.APACHE": "Apache License Version 2.0"}, None),
        ({"setup.py": '"License :: OSI Approved :: MIT License",\n'
          '"License :: OSI Approved :: Apache Software License"', "LICENSE": _MIT}, None),
        ({"LICENSE": "All rights reserved."}, None),
        ({"pyproject.toml": "not toml ["}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_licence_is_named_only_when_it_is_certain(files, expected):
    assert find_license(files) == expected
