"""Compiles the core where there is a C compiler; where there is none, what is built is the same in pure Python.

ORCHESTRION_MYPYC: `auto` (the default) compiles unless the installation is an editable one, whose sources would change
under the compiled modules; `0` never compiles; `1` always, and fails where that can't be done.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import setup

MODE = os.environ.get("ORCHESTRION_MYPYC", "auto")
CORE = Path("src", "orchestrion", "scheduler_packing", "_core")

# A folder of its own for each build: what an earlier one left in a common folder would get into the wheel.
with TemporaryDirectory() as scratch:
    extensions = []
    if MODE == "1" or (MODE == "auto" and "editable_wheel" not in sys.argv):
        from mypyc.build import mypycify

        modules = sorted(str(path) for path in CORE.glob("*.py") if path.name != "__init__.py")
        extensions = mypycify(modules, opt_level="3", debug_level="0", target_dir=scratch)
        for extension in extensions:
            # Without a compiler, setuptools says which modules it left out, and goes on.
            extension.optional = MODE != "1"
            # Fused operations round once where the interpreter rounds twice.
            extension.extra_compile_args = [*extension.extra_compile_args, "-ffp-contract=off"]
    setup(ext_modules=extensions, options={"build": {"build_base": scratch}})
