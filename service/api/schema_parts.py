"""Parts of several schemas."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Probability = Annotated[float, Field(ge=0, le=1)]
Language = Annotated[str, StringConstraints(min_length=1, max_length=40)]
LANGUAGE = "Code of the language to translate to, such as de: see `GET /api/translators`."
"""Description of an option of type Language."""


class Strict(BaseModel):
    """A model that refuses unknown options."""

    model_config = ConfigDict(extra="forbid")
