"""Settings of the AI besides its prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..core._validation import check_bool, check_int, check_str
from ..swaig._validation import (
    check_members,
    check_strings,
    check_url,
    drop_empty,
    json_copy,
    json_object,
    json_objects,
    optional,
)


class AISettings:
    """Parameters, speech hints, languages and initial data of the AI.

    No method changes a list or dictionary in place, so that a shallow copy is independent and a
    rendered document never changes.

    Raises:
        ValueError: an argument is invalid. For a wrong type it is a TypeError as well.
    """

    def __init__(self) -> None:
        self._params: dict[str, Any] = {}
        self._hints: list[Any] = []
        self._languages: list[dict[str, Any]] = []
        self._pronunciations: list[dict[str, Any]] = []
        self._global_data: dict[str, Any] = {}
        self._native_functions: list[str] = []
        self._includes: list[dict[str, Any]] = []
        self._internal_fillers: dict[str, Any] = {}
        self._debug_level: int | None = None

    def set_param(self, key: str, value: Any) -> None:
        """Set one parameter of the AI, such as ``end_of_speech_timeout``."""
        param = {check_str("the name of a parameter", key): json_copy(f"param {key!r}", value)}
        self._params = {**self._params, **param}

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Set several parameters; others are kept."""
        self._params = {**self._params, **json_object("params", params)}

    def add_hint(self, hint: str) -> None:
        """Add a word that speech recognition should expect."""
        self.add_hints([check_str("a hint", hint)])

    def add_hints(self, hints: Iterable[str]) -> None:
        """Add words that speech recognition should expect."""
        self._hints = [*self._hints, *check_strings("hints", hints)]

    def add_pattern_hint(
        self, hint: str, pattern: str, replace: str, ignore_case: bool = False
    ) -> None:
        """Replace recognized speech where it matches the regular expression."""
        rule = {
            "hint": check_str("a hint", hint),
            "pattern": check_str("the pattern of a hint", pattern),
            "replace": check_str("the replacement of a hint", replace),
            "ignore_case": check_bool("ignore_case", ignore_case),
        }
        self._hints = [*self._hints, rule]

    def add_language(
        self,
        /,
        name: str,
        code: str,
        voice: str,
        speech_fillers: Iterable[str] | None = None,
        function_fillers: Iterable[str] | None = None,
        engine: str | None = None,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Add a language.

        Args:
            name: such as ``English``.
            code: such as ``en-US``.
            voice: its name, or ``engine.voice:model`` in one.
            speech_fillers: what the AI says while it thinks.
            function_fillers: what it says while a function runs. If only one kind of fillers is
                given, it is used for both.
            engine: the engine of the voice.
            model: the model of the voice.
            params: parameters of the engine.
            options: further members, passed to the platform as they are.
        """
        language: dict[str, Any] = {
            "name": check_str("the name of a language", name),
            "code": check_str("the code of a language", code),
            "voice": check_str("the voice of a language", voice),
        }
        params = {} if params is None else params
        spoken, colon, its_model = voice.partition(":")
        its_engine, dot, its_voice = spoken.partition(".")
        if colon and dot and not engine and not model:
            language.update(voice=its_voice, engine=its_engine, model=its_model)
        fillers = drop_empty(
            speech_fillers=check_strings("speech_fillers", speech_fillers or []),
            function_fillers=check_strings("function_fillers", function_fillers or []),
        )
        if len(fillers) == 1:
            fillers = {"fillers": next(iter(fillers.values()))}
        members = {
            **drop_empty(
                engine=optional(check_str, f"the engine of language {name!r}", engine),
                model=optional(check_str, f"the model of language {name!r}", model),
                params=json_object(f"the params of language {name!r}", params),
            ),
            **options,
        }
        given = {key: value for key, value in members.items() if value is not None}
        language.update(json_object(f"language {name!r}", {**fillers, **given}))
        self._languages = [*self._languages, language]

    def set_languages(self, languages: Iterable[Mapping[str, Any]]) -> None:
        """Replace all languages.

        Args:
            languages: each with ``name``, ``code`` and ``voice``, as in the document.
        """
        copied = json_objects("languages", languages)
        for each in copied:
            check_members("each of languages", each, ("name", "code", "voice"))
        self._languages = copied

    def add_pronunciation(self, replace: str, with_text: str, ignore_case: bool = False) -> None:
        """Speak `with_text` where `replace` is written."""
        rule: dict[str, Any] = {
            "replace": check_str("the text to pronounce", replace),
            "with": check_str("a pronunciation", with_text),
        }
        if check_bool("ignore_case", ignore_case):
            rule["ignore_case"] = True
        self._pronunciations = [*self._pronunciations, rule]

    def set_global_data(self, data: Mapping[str, Any]) -> None:
        """Set members of the data that the AI starts with; others are kept."""
        self._global_data = {**self._global_data, **json_object("global data", data)}

    def update_global_data(self, data: Mapping[str, Any]) -> None:
        """Do the same as :meth:`set_global_data`; signalwire-sdk has both names."""
        self.set_global_data(data)

    def set_native_functions(self, function_names: Iterable[str]) -> None:
        """Enable functions of the platform, such as ``check_time``."""
        self._native_functions = check_strings("native functions", function_names)

    def add_function_include(
        self, url: str, functions: Iterable[str], meta_data: Mapping[str, Any] | None = None
    ) -> None:
        """Let the platform fetch the signatures of further functions.

        Args:
            url: an absolute http or https URL, or a variable.
            functions: their names.
            meta_data: data to send to `url`.
        """
        include: dict[str, Any] = {
            "url": check_url("the URL of an include", url),
            "functions": check_strings("included functions", functions),
        }
        if meta_data:
            include["meta_data"] = json_object("the meta data of an include", meta_data)
        self._includes = [*self._includes, include]

    def set_internal_fillers(self, internal_fillers: Mapping[str, Any]) -> None:
        """Set what is said while functions of the platform run, by function and language."""
        checked = json_object("internal fillers", internal_fillers)
        self._internal_fillers = {**self._internal_fillers, **checked}

    def enable_debug_events(self, level: int = 1) -> None:
        """Ask the platform for debug events: 1 for notable ones, 2 or more for all."""
        self._debug_level = check_int("the debug level", level, 1)

    def function_names(self) -> Iterator[str]:
        """Yield the names of the enabled and the included functions."""
        yield from self._native_functions
        for include in self._includes:
            yield from include["functions"]

    def render_swaig(self) -> dict[str, Any]:
        """Return a copy of the members of ``ai.SWAIG``."""
        rendered = drop_empty(
            native_functions=self._native_functions,
            includes=self._includes,
            internal_fillers=self._internal_fillers,
        )
        return json_object("the functions", rendered)

    def render(self, debug_url: str) -> dict[str, Any]:
        """Return a copy of the members of the ``ai`` verb."""
        params = self._params
        if self._debug_level is not None:
            params = {
                **params,
                "debug_webhook_url": debug_url,
                "debug_webhook_level": self._debug_level,
            }
        rendered = drop_empty(
            params=params,
            hints=self._hints,
            languages=self._languages,
            pronounce=self._pronunciations,
            global_data=self._global_data,
        )
        return json_object("the settings", rendered)
