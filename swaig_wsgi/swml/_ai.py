"""Settings of the AI that are not its prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..swaig._actions.checks import url as absolute_url
from ..swaig._values import flag, given, json_copy, json_object, text, texts


class AISettings:
    """Parameters, speech hints, languages, and data that the AI knows from the start.

    No method changes a list or dictionary in place: each makes a new one, so that a shallow copy
    stands alone and a document that was rendered never changes.
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
        param = {text(key, "the name of a parameter"): json_copy(value, f"param {key!r}")}
        self._params = {**self._params, **param}

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Set several parameters; those that are not named stay."""
        self._params = {**self._params, **json_object(params, "params")}

    def add_hint(self, hint: str) -> None:
        """Add a word that speech recognition should expect."""
        self.add_hints([text(hint, "a hint")])

    def add_hints(self, hints: Iterable[str]) -> None:
        """Add words that speech recognition should expect."""
        self._hints = [*self._hints, *texts(hints, "hints")]

    def add_pattern_hint(
        self, hint: str, pattern: str, replace: str, ignore_case: bool = False
    ) -> None:
        """Replace what speech recognition heard, where it matches the regular expression."""
        rule = {
            "hint": text(hint, "a hint"),
            "pattern": text(pattern, "the pattern of a hint"),
            "replace": text(replace, "the replacement of a hint"),
            "ignore_case": flag(ignore_case, "ignore_case"),
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
            function_fillers: what it says while a function runs. Fillers of one kind alone serve
                for both.
            engine: of the voice.
            model: of the voice.
            params: of the engine.
            options: further members, as the platform reads them.
        """
        language: dict[str, Any] = {
            "name": text(name, "the name of a language"),
            "code": text(code, "the code of a language"),
            "voice": text(voice, "the voice of a language"),
        }
        spoken, colon, its_model = voice.partition(":")
        its_engine, dot, its_voice = spoken.partition(".")
        if colon and dot and not engine and not model:
            language.update(voice=its_voice, engine=its_engine, model=its_model)
        fillers = given(
            speech_fillers=texts(speech_fillers or [], "speech_fillers"),
            function_fillers=texts(function_fillers or [], "function_fillers"),
        )
        if len(fillers) == 1:
            fillers = {"fillers": next(iter(fillers.values()))}
        members = {
            **given(
                engine=_optional_text(engine, f"the engine of language {name!r}"),
                model=_optional_text(model, f"the model of language {name!r}"),
                params=json_object(
                    {} if params is None else params, f"the params of language {name!r}"
                ),
            ),
            **options,
        }
        said = {key: value for key, value in members.items() if value is not None}
        language.update(json_object({**fillers, **said}, f"language {name!r}"))
        self._languages = [*self._languages, language]

    def add_pronunciation(self, replace: str, with_text: str, ignore_case: bool = False) -> None:
        """Speak `with_text` where `replace` is written."""
        rule: dict[str, Any] = {
            "replace": text(replace, "the text to pronounce"),
            "with": text(with_text, "a pronunciation"),
        }
        if flag(ignore_case, "ignore_case"):
            rule["ignore_case"] = True
        self._pronunciations = [*self._pronunciations, rule]

    def set_global_data(self, data: Mapping[str, Any]) -> None:
        """Set members of the data that the AI knows from the start; those not named stay."""
        self._global_data = {**self._global_data, **json_object(data, "global data")}

    def update_global_data(self, data: Mapping[str, Any]) -> None:
        """Do the same as :meth:`set_global_data`; the signalwire-sdk package has both names."""
        self.set_global_data(data)

    def set_native_functions(self, function_names: Iterable[str]) -> None:
        """Enable functions that the platform itself offers, such as ``check_time``."""
        self._native_functions = texts(function_names, "native functions")

    def add_function_include(
        self, url: str, functions: Iterable[str], meta_data: Mapping[str, Any] | None = None
    ) -> None:
        """Let the platform ask `url` for the signatures of further functions.

        Raises:
            ValueError: `url` is no absolute http or https URL and no variable, or another
                argument is of a wrong type.
        """
        include: dict[str, Any] = {
            "url": absolute_url(url, "the URL of an include"),
            "functions": texts(functions, "included functions"),
        }
        if meta_data:
            include["meta_data"] = json_object(meta_data, "the meta data of an include")
        self._includes = [*self._includes, include]

    def set_internal_fillers(self, internal_fillers: Mapping[str, Any]) -> None:
        """Set what is said while the platform's own functions run, by function and language."""
        checked = json_object(internal_fillers, "internal fillers")
        self._internal_fillers = {**self._internal_fillers, **checked}

    def enable_debug_events(self, level: int = 1) -> None:
        """Ask the platform for debug events; 1 is events of note, 2 and more is everything."""
        if isinstance(level, bool) or not isinstance(level, int) or level < 1:
            raise ValueError(f"the debug level must be a whole number from 1, not {level!r}")
        self._debug_level = level

    def function_names(self) -> Iterator[str]:
        """Yield the functions that these settings let the AI call: the platform's, and included."""
        yield from self._native_functions
        for include in self._includes:
            yield from include["functions"]

    def render_swaig(self) -> dict[str, Any]:
        """Return what these settings add to ``ai.SWAIG``."""
        return given(
            native_functions=self._native_functions,
            includes=self._includes,
            internal_fillers=self._internal_fillers,
        )

    def render(self, debug_url: str) -> dict[str, Any]:
        """Return what these settings add to the ``ai`` verb."""
        params = self._params
        if self._debug_level is not None:
            params = {
                **params,
                "debug_webhook_url": debug_url,
                "debug_webhook_level": self._debug_level,
            }
        return given(
            params=params,
            hints=self._hints,
            languages=self._languages,
            pronounce=self._pronunciations,
            global_data=self._global_data,
        )


def _optional_text(value: str | None, what: str) -> str | None:
    return None if value is None or value == "" else text(value, what)
