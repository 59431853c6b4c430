"""Request and response schemas of translations."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, RootModel, StringConstraints

from service.api.maps import Map
from service.api.schema_parts import LANGUAGE, Language, Probability, Strict, StrictBody

MAX_TRANSLATIONS = 5
MAX_TEXTS = 32
MAX_CHARACTERS = 100_000
"""Maximum length of a text to translate, far above what a translator reads."""
MAX_URL_CHARACTERS = 5_000
"""Maximum length of a text in a URL: encoded, a character may take twelve bytes."""

Text = Annotated[str, StringConstraints(max_length=MAX_CHARACTERS)]


class TextMatrixQuery(Strict):
    text: str = Field(max_length=MAX_URL_CHARACTERS, description="A sentence.")
    language: Language = Field(description=LANGUAGE)


class TranslationBody(StrictBody):
    """One text, or several."""

    text: Text | None = Field(None, description="A sentence. The answer is one translation.")
    texts: list[Text] | None = Field(
        None, min_length=1, max_length=MAX_TEXTS, description="Sentences. The answer is a list."
    )
    language: Language = Field(description=LANGUAGE)
    translations: int = Field(
        1, ge=1, le=MAX_TRANSLATIONS, description="Number of translations of each text to return, best first."
    )


class TranslatedWord(BaseModel):
    text: str
    probability: Probability = Field(description="Probability of the word, given the words before it.")
    weights: list[float] = Field(description="Attention to each word of `source`; the weights sum to 1.")


class RankedTranslation(BaseModel):
    source: list[str] = Field(description="The words and punctuation marks of the text.")
    translation: str
    probability: Probability = Field(description="Probability of the whole translation, including its end token.")
    words: list[TranslatedWord]


class TranslationDocument(RankedTranslation):
    language: str
    alternatives: list[RankedTranslation] = Field(description="The other requested translations, best first.")


class TranslationAnswer(RootModel[TranslationDocument | list[TranslationDocument]]):
    """One translation for `text`, a list for `texts`."""


class TranslatedCaptionWord(TranslatedWord):
    map: Map = Field(description="Map on the photo: the mean of the maps of the caption's words, by `weights`.")


class CaptionTranslation(BaseModel):
    language: str
    source: list[str] = Field(description="The words of the caption.")
    translation: str
    probability: Probability = Field(description="Probability of the whole translation, including its end token.")
    words: list[TranslatedCaptionWord]
    matrix: str = Field(description="URL of a picture: the attention matrix, words of the caption across.")


class TranslatorDocument(BaseModel):
    language: str = Field(description="Code of the language that it writes: a value of the option `language`.")
    source: str = Field(description="Code of the language that it reads.")
    version: str = Field(description="The promoted version, or built-in.")
    scores: dict[str, Any] = Field(description="Its scores, by split.")
    card: str = Field(description="The model card, in Markdown.")


class TranslatorList(BaseModel):
    translators: list[TranslatorDocument]
