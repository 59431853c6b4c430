"""Parts of several schemas."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Probability = Annotated[float, Field(ge=0, le=1)]
Language = Annotated[str, StringConstraints(min_length=1, max_length=40)]
LANGUAGE = "Code of the language to translate to, such as de: see `GET /api/translators`."
"""Description of an option of type Language."""


class Strict(BaseModel):
    """A model that refuses unknown options."""

    model_config = ConfigDict(extra="forbid")


class StrictBody(Strict):
    """A body of JSON, whose values have the types of the document: `true` and "1" are no number."""

    model_config = ConfigDict(strict=True)


def event_stream(description: str, *names: str) -> dict[str, Any]:
    """Return the OpenAPI description of an answer of server-sent events with these names; their data is JSON."""
    event = {
        "type": "object",
        "description": "Each event.",
        "properties": {
            "event": {"enum": list(names)},
            "data": {"type": "string", "contentMediaType": "application/json"},
            "id": {"type": "string"},
        },
        "required": ["event", "data"],
    }
    return {"description": description, "content": {"text/event-stream": {"schema": event}}}
