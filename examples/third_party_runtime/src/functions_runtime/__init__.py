"""A container runtime whose containers are async functions of this program."""

from ._runtime import Call, Function, FunctionRuntime, open_functions

__all__ = ["Call", "Function", "FunctionRuntime", "open_functions"]
