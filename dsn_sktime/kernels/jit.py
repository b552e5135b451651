"""How the kernels are compiled: without the interpreter's lock, kept on disk."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding
from numba import int64, njit, void
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.types import unliteral

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    # The inner loops are LLVM code: there is no plain Python to fall back on.
    raise ImportError("NUMBA_DISABLE_JIT is set")


class _UnlessConfigured(logging.StreamHandler):
    """Writes to the standard error, unless the root logger has handlers that get the message."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            super().emit(record)


logger = logging.getLogger("dsn_sktime")
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)
if not logger.handlers:
    logger.addHandler(_UnlessConfigured())


def _digest_of_sources() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


_SOURCES = _digest_of_sources()


class _Library(JITCodeLibrary):
    """Code that is optimized only when it is complete, not function by function before."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout


class _LinkedLibrary(_Library):
    """LLVM code that is only linked into that of entries, and optimized there, once."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        # Not given to the engine, which would call this slow code.
        self._finalized = True


class _LinkedCompiler(Compiler):
    """Compile a function up to LLVM code, without wrappers and machine code of its own."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        flags = self.state.flags
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        self.state.library = _LinkedLibrary(self.state.targetctx.codegen(), "linked")

    def compile_extra(self, func: Callable) -> Any:
        result = super().compile_extra(func)
        # numba finds the code by a builtin function, which it would have made; nothing calls it.
        unused: list = []
        key = unused.append
        self.state.targetctx.insert_user_function(key, result.fndesc, [result.library])
        return result._replace(entry_point=key)


class _EntryLibrary(_Library):
    """Machine code that calls its own copies of inner functions."""

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == binding.Linkage.linkonce_odr:
                function.linkage = binding.Linkage.internal
        if not hasattr(binding, "create_pass_builder"):  # An older llvmlite.
            super()._optimize_final_module()
            return
        options = binding.create_pipeline_tuning_options()
        # The loops that take long are written in vectors; unrolled, they take longer to compile.
        options.loop_unrolling = False
        builder = binding.create_pass_builder(self._codegen._tm, options)
        passes = builder.getModulePassManager()
        passes.add_refprune_pass()
        passes.run(self._final_module, builder)


class _EntryCompiler(Compiler):
    """Compile a function with all that it calls."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.state.library = _EntryLibrary(self.state.targetctx.codegen(), "entry")
        self.state.library.enable_object_caching()


class _AnnouncingCompiler(_EntryCompiler):
    """Log the first such compilation of a process."""

    def __init__(self, *args: Any) -> None:
        _announce()
        super().__init__(*args)


@cache
def _announce() -> None:
    logger.info(
        "Compiling the sparse kernels for this processor, about 15 seconds. The result is kept on "
        "disk; `python -m dsn_sktime compile` does this ahead. Predictions with backend='dense' "
        "need none."
    )


def compiled(fastmath: bool | set[str] = False) -> Callable[[Callable], Any]:
    """Return a decorator that compiles a function for compiled callers; Python cannot call it.

    Parameters
    ----------
    fastmath : bool or set of str, default=False
        LLVM's liberties with floating point.
    """

    def decorate(function: Callable) -> Any:
        dispatcher: Any = njit(
            nogil=True, fastmath=fastmath, error_model="numpy", pipeline_class=_LinkedCompiler
        )(function)
        find = dispatcher.get_call_template
        # numba would compile a variant for each constant that a caller passes.
        dispatcher.get_call_template = lambda args, kws: find(tuple(map(unliteral, args)), kws)
        return dispatcher

    return decorate


def compiled_entry(function: Callable) -> Any:
    """Compile a function at its first call from Python, and log that compiling begins.

    numba keeps the machine code beside the source or in the user's cache folder, and takes
    it up again as long as no source of this folder has changed. Where neither folder can be
    written, each process compiles anew.
    """
    return _kept(function, _AnnouncingCompiler)


def code_address(function: Callable, n_arguments: int) -> int:
    """Compile a function of so many int64, and return where its code is, for compiled callers.

    Kept on disk as in :func:`compiled_entry`.
    """
    signature = void(*[int64] * n_arguments)
    dispatcher = _kept(function, _EntryCompiler)
    dispatcher.compile(signature)
    found = dispatcher.overloads[signature.args]
    return found.library.get_pointer_to_function(found.fndesc.llvm_cfunc_wrapper_name)


def _kept(function: Callable, compiler: type[Compiler]) -> Any:
    compile_it = partial(njit, nogil=True, error_model="numpy", pipeline_class=compiler)
    try:
        dispatcher: Any = compile_it(cache=True)(function)
    except RuntimeError:
        return compile_it()(function)
    # numba looks at the function's own file only, but it inlines what others hold.
    dispatcher._cache._cache_file._source_stamp = _SOURCES
    return dispatcher
