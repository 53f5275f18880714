"""From raw files to a dataset folder: read, check, filter, split, write."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """This package, which can be called like the function ``demure.prepare`` of the Python API.

    Python puts an imported package in the place of the attribute ``demure.prepare``, so that a second call of the
    function would otherwise call the package.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        return importlib.import_module("demure.api.steps").prepare(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
