"""Python repositories of other layouts than a package with its tests beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.functional.conftest import Shell

CODE = """
def clip(n):
    if n < 10:
        return n
    return 10
"""
PROJECT = """
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "1.0"
"""
SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
"""

LAYOUTS: dict[str, tuple[Mapping[str, str], str]] = {
    "unittest in files of other names": (
        {
            "clipping.py": CODE,
            "checks/__init__.py": "",
            "checks/clippingtests.py": """
                import unittest
                from clipping import clip
                class Clip(unittest.TestCase):
                    def test_small(self): self.assertEqual(clip(9), 9)
                    def test_large(self): self.assertEqual(clip(12), 10)
                """,
        },
        "clipping.py",
    ),
    "docstrings alone": (
        {
            "clipping.py": '''
                def clip(n):
                    """Cut a number.

                    >>> clip(3)
                    3
                    >>> clip(12)
                    10
                    """
                    if n < 10:
                        return n
                    return 10

                def double(n):
                    """Twice.

                    >>> double(2)
                    4
                    """
                    return n * 2
                '''
        },
        "clipping.py",
    ),
    "a namespace package in src": (
        {
            "pyproject.toml": PROJECT.format(name="far-clipping")
            + '[tool.setuptools.packages.find]\nwhere = ["src"]\nnamespaces = true\n',
            "src/far/away/clipping.py": CODE,
            "tests/test_clipping.py": """
                from far.away.clipping import clip
                def test_small(): assert clip(9) == 9
                def test_large(): assert clip(12) == 10
                """,
        },
        "src/far/away/clipping.py",
    ),
    "a monorepo of two packages": (
        {
            "packages/near/pyproject.toml": PROJECT.format(name="near"),
            "packages/near/src/near/__init__.py": CODE,
            "packages/near/tests/test_near.py": """
                from near import clip
                def test_small(): assert clip(9) == 9
                def test_large(): assert clip(12) == 10
                """,
            "packages/far/pyproject.toml": PROJECT.format(name="far"),
            "packages/far/src/far/__init__.py": """
                from near import clip
                def cut(): return clip(20)
                """,
            "packages/far/tests/test_far.py": """
                from far import cut
                def test_cut(): assert cut() == 10
                """,
        },
        "packages/near/src/near/__init__.py",
    ),
    "a Django project": (
        {
            "manage.py": """
                import os
                os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
                """,
            "requirements.txt": "django>=4\n",
            "site1/__init__.py": "",
            "site1/settings.py": SETTINGS,
            "shop/__init__.py": "",
            "shop/models.py": """
                from django.db import models
                class Item(models.Model):
                    price = models.IntegerField()
                    class Meta:
                        app_label = "shop"
                    def clipped(self):
                        if self.price < 10:
                            return self.price
                        return 10
                """,
            "shop/tests.py": """
                from django.test import TestCase
                from shop.models import Item
                class ItemTest(TestCase):
                    def test_small(self):
                        assert Item(price=9).clipped() == 9
                    def test_large(self):
                        assert Item(price=12).clipped() == 10
                """,
        },
        "shop/models.py",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_harvested_without_configuration(
    shell: Shell, repository: Callable[..., Path], layout: str
) -> None:
    files, changed = LAYOUTS[layout]
    repo = repository(package=files)
    ran = shell.harvest(
        repo, "--operators", "comparison,return", "--max-candidates", "8", timeout=300
    )
    assert ran.code == 0, ran.err
    assert ran.summary["examples"]["new"] > 0, ran.out
    rows = shell.sql("SELECT DISTINCT path FROM examples")
    assert {"path": changed} in rows
    assert shell.run("replay", "--sample", "2", "--json").code == 0
