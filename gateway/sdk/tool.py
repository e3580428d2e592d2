"""A typed Python function as a tool: its schema from annotations and docstring, its arguments converted at one point.

    @tool
    def weather(city: Annotated[str, "as the locals spell it"], unit: Literal["C", "F"] = "C") -> Report:
        \"\"\"The weather in a city, now.\"\"\"

The function stays what it was and can be called; a `Tool` is beside it what an agent needs to know.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

import msgspec

from espalier.gateway.sdk.annotation import described, description_in
from espalier.gateway.sdk.call import Call
from espalier.gateway.sdk.docstring import read
from espalier.gateway.sdk.errors import DefinitionError, ShapeError, ToolError
from espalier.gateway.sdk.schema import JsonObject
from espalier.gateway.sdk.shape import Shape, encode, encode_json
from espalier.gateway.sdk.thread import in_thread

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
_Field: TypeAlias = tuple[str, object] | tuple[str, object, object]

Effect: TypeAlias = Literal["none", "keyed", "once"]

MAX_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a model is told of a tool, and what its runner has to know.

    `timeout_s` None is no limit. `effect` says what doing it again would do: nothing ever ("none": it is started as
    soon as its arguments are there, before the turn is over), nothing more for the same `Call.key` ("keyed": it is
    repeated where a crash left open whether it was done), or something ("once": then it is never repeated, and the
    model is told).
    """

    name: str
    description: str
    parameters: Mapping[str, object]
    timeout_s: float | None = None
    effect: Effect = "once"


class Tool(Protocol):
    """What an agent can call: a function of this process (`FunctionTool`), or of an MCP server (`sdk.mcp`)."""

    @property
    def spec(self) -> ToolSpec:
        """How it is told to the model."""
        ...

    async def execute(self, call: Call) -> str:
        """Do it; the text is what the model reads. Raises ShapeError for arguments that don't fit, or anything else."""
        ...


class FunctionTool(Generic[P, R_co]):
    """A function as a tool; made by `tool`."""

    def __init__(
        self, function: Callable[P, R_co], spec: ToolSpec, shape: Shape[msgspec.Struct], call_name: str | None
    ):
        self._function, self._shape, self._call_name = function, shape, call_name
        self.spec = spec
        self.__name__, self.__doc__, self.__wrapped__ = spec.name, function.__doc__, function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self._function(*args, **kwargs)

    async def execute(self, call: Call) -> str:
        """See `Tool.execute`; what is not async runs in a thread of its own."""
        function = cast(Callable[..., Any], self._function)
        arguments = self._convert(call.arguments)
        if self._call_name:
            arguments[self._call_name] = call
        if inspect.iscoroutinefunction(function):
            value = await function(**arguments)
        else:
            value = await in_thread(lambda: function(**arguments))
            if inspect.isawaitable(value):
                value = await value
        try:
            return encode(value)
        except ShapeError as error:
            raise ToolError(f"what {call.name} returned can't be told: {error}") from None

    def _convert(self, text: str) -> dict[str, object]:
        values = self._shape.decode(text or "{}")
        return {
            name: value for name in values.__struct_fields__ if (value := getattr(values, name)) is not msgspec.UNSET
        }


@overload
def tool(function: Callable[P, R_co], /) -> FunctionTool[P, R_co]: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None, timeout_s: float | None = None, effect: Effect = "once"
) -> Callable[[Callable[P, R_co]], FunctionTool[P, R_co]]: ...


def tool(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = None,
    effect: Effect = "once",
) -> FunctionTool[..., object] | Callable[[Callable[..., object]], FunctionTool[..., object]]:
    """Make a function a tool, bare or with settings (`ToolSpec`).

    Raises DefinitionError that names what can't be told.
    """

    def make(function: Callable[..., object]) -> FunctionTool[..., object]:
        told = read(function.__doc__)
        own_name = name or str(getattr(function, "__name__", ""))
        if not (
            own_name.replace("_", "").replace("-", "").isalnum()
            and own_name.isascii()
            and len(own_name) <= MAX_NAME_CHARS
        ):
            raise DefinitionError(
                f"a tool needs a name of letters, digits, _ and -, at most {MAX_NAME_CHARS}, not {own_name!r}"
            )
        if timeout_s is not None and timeout_s <= 0:
            raise DefinitionError(f"{own_name}: timeout_s must be over 0, not {timeout_s!r}")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(f"{own_name}: a model is told one result, and a generator has none; return a list")
        shape, call_name = _arguments(function, own_name, told.parameters)
        spec = ToolSpec(own_name, description or told.description, shape.schema, timeout_s, effect)
        return FunctionTool(function, spec, shape, call_name)

    return make if function is None else make(function)


def as_tool(found: Tool | Callable[..., object]) -> Tool:
    """A tool as it is, a plain function made one."""
    if hasattr(found, "spec") and hasattr(found, "execute"):
        return cast(Tool, found)
    return tool(found)


def _arguments(
    function: Callable[..., object], name: str, texts: dict[str, str]
) -> tuple[Shape[msgspec.Struct], str | None]:
    """The parameters as a struct, and the name of the one that takes the `Call`."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DefinitionError(f"{name}: {error}; types of a tool's parameters stand at the top of a module") from None
    except TypeError:
        raise DefinitionError(f"{name}: a tool is a function or a method, not a {type(function).__name__}") from None
    fields: list[_Field] = []
    call_name = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise DefinitionError(f"{name}: {parameter} can't be told to a model; parameters are named one by one")
        hint = hints.get(parameter.name)
        if type(parameter.default).__name__ == "FieldInfo":  # pydantic's, which only its own models read there
            raise DefinitionError(f"{name}: Field() is no default; write {parameter.name}: Annotated[..., Field(...)]")
        if hint is Call:
            call_name = parameter.name
        elif hint is None or hint is Any:
            hint_at = f"; where {name} is a method: tool(thing.{name})" if parameter.name == "self" else ""
            raise DefinitionError(f"{name}: the parameter {parameter.name!r} needs a type{hint_at}")
        else:
            fields.append(_field(parameter, hint, texts.get(parameter.name)))
    struct = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True, rename=None)
    try:
        return Shape(struct), call_name
    except DefinitionError as error:
        raise DefinitionError(f"{name}: {error}") from None


def _field(parameter: inspect.Parameter, hint: object, text: str | None) -> _Field:
    """A field of the struct; one with a default may be left out, and then the function's own default holds."""
    notes = list(get_args(hint)[1:]) if get_origin(hint) is Annotated else []
    meta = msgspec.Meta(description=description_in(notes) or text)
    if parameter.default is parameter.empty:
        return (parameter.name, _annotated(described(hint), meta))
    # Bounds hold for the type itself, not for its being left out.
    meta = msgspec.Meta(description=meta.description, extra_json_schema=_default(parameter.default) or None)
    return (parameter.name, _annotated(Union.__getitem__((described(hint), msgspec.UnsetType)), meta), msgspec.UNSET)


def _annotated(kind: object, meta: msgspec.Meta) -> object:
    return Annotated.__class_getitem__((kind, meta))  # type: ignore[attr-defined]


def _default(value: object) -> JsonObject:
    try:
        return {"default": msgspec.json.decode(encode_json(value))}
    except ShapeError:
        return {}
