"""The agent SDK: typed tools, typed answers, sessions that lose nothing. Loads neither torch nor the server.

from espalier.gateway.sdk import Agent, tool

@tool
def weather(city: str) -> str:
    \"\"\"The weather in a city, now.\"\"\"
    return "rain"

print(Agent(tools=[weather]).run_sync("Do I need an umbrella in Oslo?").answer)
"""

from espalier.gateway.sdk.agent import Agent
from espalier.gateway.sdk.call import Call, ToolResult
from espalier.gateway.sdk.client import Client
from espalier.gateway.sdk.errors import (
    DefinitionError,
    JournalError,
    RefusedError,
    SdkError,
    ServerError,
    SessionBusyError,
    ShapeError,
    StreamError,
    ToolError,
    UnavailableError,
)
from espalier.gateway.sdk.event import (
    ArgumentsDelta,
    CallReady,
    CallStarted,
    Event,
    ReasoningDelta,
    Replied,
    RunEnded,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnRestarted,
    TurnStarted,
)
from espalier.gateway.sdk.hooks import Hooks
from espalier.gateway.sdk.limit import Cost, Limit, Seconds, Tokens, Turns
from espalier.gateway.sdk.message import Message, assistant, system, user
from espalier.gateway.sdk.model import Model, Query, Settings
from espalier.gateway.sdk.reply import Reply
from espalier.gateway.sdk.retry import Retry
from espalier.gateway.sdk.run import Run
from espalier.gateway.sdk.scripted_model import ScriptedModel, call
from espalier.gateway.sdk.session import Session
from espalier.gateway.sdk.stop import (
    AnswerCut,
    AnswerFiltered,
    AnswerUnfit,
    CostReached,
    LimitReached,
    Stop,
    TimeReached,
    TokensReached,
    TurnsReached,
)
from espalier.gateway.sdk.tool import FunctionTool, Tool, ToolSpec, tool
from espalier.gateway.sdk.usage import Price, Usage

__all__ = [
    "Agent",
    "AnswerCut",
    "AnswerFiltered",
    "AnswerUnfit",
    "ArgumentsDelta",
    "Call",
    "CallReady",
    "CallStarted",
    "Client",
    "Cost",
    "CostReached",
    "DefinitionError",
    "Event",
    "FunctionTool",
    "Hooks",
    "JournalError",
    "Limit",
    "LimitReached",
    "Message",
    "Model",
    "Price",
    "Query",
    "ReasoningDelta",
    "RefusedError",
    "Replied",
    "Reply",
    "Retry",
    "Run",
    "RunEnded",
    "ScriptedModel",
    "SdkError",
    "Seconds",
    "ServerError",
    "Session",
    "SessionBusyError",
    "Settings",
    "ShapeError",
    "Stop",
    "StreamError",
    "TextDelta",
    "TimeReached",
    "Tokens",
    "TokensReached",
    "Tool",
    "ToolError",
    "ToolFinished",
    "ToolResult",
    "ToolSpec",
    "ToolStarted",
    "TurnRestarted",
    "TurnStarted",
    "Turns",
    "TurnsReached",
    "UnavailableError",
    "Usage",
    "assistant",
    "call",
    "system",
    "tool",
    "user",
]
