"""Text becomes words and ids and back, in any language."""

import unicodedata

import pytest

from captioner.text.vocabulary import END, PAD, SPECIAL_WORDS, START, UNKNOWN, Vocabulary, join_words, tokenise


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog, running on the grass .", "a dog running on the grass"),
        ("Two dogs: one (black) & one white!", "two dogs one black one white"),
        ("The dog's ball; the dogs' balls", "the dog 's ball the dogs balls"),
        ("The dog\u2019s ball", "the dog 's ball"),
        ("a T-shirt's colour", "a t-shirt 's colour"),
        ("It's o'clock, don't rock'n'roll", "it 's o'clock don't rock'n'roll"),
        ("his 'second' s-shaped 'sled", "his second s-shaped sled"),
        ("a well-known man - not - --known", "a well-known man not known"),
        ("L'homme à vélo, près du café", "l'homme à vélo près du café"),
        ("Ein großer Hund läuft über 3 Straßen", "ein großer hund läuft über 3 straßen"),
        ("Собака бежит по траве!", "собака бежит по траве"),
        ("كلب يجري على العشب؟", "كلب يجري على العشب"),
        ("개가 잔디 위를 달린다.", "개가 잔디 위를 달린다"),
        ("कुत्ता घास पर दौड़ता है।", "कुत्ता घास पर दौड़ता है"),
        ("一只狗在草地上。", "一 只 狗 在 草 地 上"),
        ("コーヒーを飲む", "コ ー ヒ ー を 飲 む"),
        ("หมาวิ่ง", "ห ม า วิ่ ง"),
        ("iPhone的3个app", "iphone 的 3 个 app"),
        ("<unk> <start> a_b", "unk start a b"),
        ("", ""),
        (" \t\n…!? 🐶 ", ""),
    ],
)
def test_tokenise_splits_text_into_lower_case_words(text, words):
    assert tokenise(text) == [unicodedata.normalize("NFC", word) for word in words.split()]


def test_tokenise_ignores_the_unicode_normal_form():
    apart, together = unicodedata.normalize("NFD", "Près du café"), unicodedata.normalize("NFC", "près du CAFÉ")
    assert apart != together.lower() and tokenise(apart) == tokenise(together)


@pytest.mark.parametrize(
    "text",
    ["a dog 's ball", "一只狗在草地上", "コーヒーを飲む", "หมาวิ่ง", "l'homme à vélo", "don't run", "3 个 app 狗", ""],
)
def test_joined_words_give_the_same_words_again(text):
    assert tokenise(join_words(tokenise(text))) == tokenise(text)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("a dog 's ball", "a dog's ball"),
        ("一 只 狗", "一只狗"),
        ("コ ー ヒ ー を 飲 む", "コーヒーを飲む"),
        ("iphone 的 app", "iphone 的 app"),
        ("'s", "'s"),
    ],
)
def test_join_words_spaces_words_as_the_language_does(words, text):
    assert join_words(words.split()) == text


def test_build_keeps_frequent_words_most_frequent_first_and_ties_by_name():
    vocabulary = Vocabulary.build(["A dog runs", "a dog sits", "a cat sits", "the bird"], min_count=2)
    assert vocabulary.words == (*SPECIAL_WORDS, "a", "dog", "sits")
    assert len(vocabulary) == 7
    assert "dog" in vocabulary and "cat" not in vocabulary


def test_the_special_words_have_the_first_ids():
    assert SPECIAL_WORDS == ("<pad>", "<start>", "<end>", "<unk>")
    assert (PAD, START, END, UNKNOWN) == (0, 1, 2, 3)


def test_decode_inverts_encode_except_for_special_words(tiny_vocabulary):
    tokens = tiny_vocabulary.encode("The DOG sings on grass.")
    assert tokens == [8, 5, UNKNOWN, 7, 9]
    assert tiny_vocabulary.decode([START, *tokens, END, PAD, PAD]) == ["the", "dog", "on", "grass"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "dog"], "first words of a vocabulary must be <pad> <start> <end> <unk>"),
        ([*SPECIAL_WORDS[:3], "dog"], "first words"),
        ([], "first words"),
        ([*SPECIAL_WORDS, "a", "dog", "a"], "'a' is in the vocabulary twice"),
        ([*SPECIAL_WORDS, "<end>"], "'<end>' is in the vocabulary twice"),
    ],
)
def test_an_invalid_vocabulary_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(words)
