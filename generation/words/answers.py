# ruff: noqa: RUF001
"""Parses keywords from answers of instruction LLMs: numbering, bullets, JSON, prose, explanations, any script."""

import re
import unicodedata

MOST_WORDS = 4
"""A phrase of more words is a sentence."""
MOST_LETTERS = 40
"""A phrase of more letters is a sentence."""
MOST_UNSPACED = 10
"""The same in scripts that put no spaces between words."""

# `\Z`: an answer that was stopped within a thought has no end tag.
THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
CHAT_TOKEN = re.compile(r"<\|[^|<>]*\|>")
FENCE = re.compile(r"```[a-z]*")
CIRCLED = re.compile(r"[①-⑳]")
# A number is a bullet only if no digit follows: "1.5" is a number.
BULLET = re.compile(r"^\s*(?:[-*•‣·▪◦–—+>#]+|\(?\d{1,2}[.):、](?!\d))\s*")
NUMBER_INSIDE = re.compile(r"\s+(?=\d{1,2}[.)]\s)")
ASIDE = re.compile(r"\([^)]*\)?")  # the closing bracket may be cut off
DASH = re.compile(r"\s+(?:[-–—=]+>?|→)\s+")
# Slashes and dashes separate only between spaces (sci-fi, 16/9), full stops only behind three letters (U.S., Dr.).
SEPARATOR = re.compile(r"[,;|、،؛·•\t]|\s/\s|\s#|[!?。]|(?<=\w{3})\.\s|\s+(?:[-–—=]+>?|→)\s+")
CONJUNCTION = re.compile(r"^(?:(?:and|or|an?|the)\s+)+")
WRAPPING = " \t\"'“”„«»‹›‘’「」『』《》*_`#.()!?~-–—=:+"
LABEL = re.compile(
    r"\b(?:key[ -]?(?:words?|phrases?)|tags?|answer|output|response|assistant)\s?\d*\b"
    r"|关键[词字]|标签|キーワード|키워드|ключевые слова"
    r"|schlüssel(?:wörter|begriffe)|stichwörter|mots[- ]clés|palabras clave|palavras-chave"
    r"|parole chiave|الكلمات المفتاحية",
    re.IGNORECASE,
)
"""Before a colon: what follows is the answer."""
CATEGORY = re.compile(
    r"(?:genre|mood|style|colou?r|theme|subject|object|element|setting|era|topic|atmosphere|palette|feature)s?",
    re.IGNORECASE,
)
"""Likewise, if nothing else stands before the colon."""
END = frozenset(
    "explanation note notes reason reasons reasoning rationale user human question 说明 解释 注 注意".split()
)
"""Before a colon: what follows, to the end, is no answer."""
FILLERS = frozenset(
    {
        "sure",
        "certainly",
        "of course",
        "okay",
        "ok",
        "yes",
        "no",
        "none",
        "n/a",
        "unknown",
        "etc",
        "no keywords",
        "当然",
        "好的",
        "抱歉",
        "对不起",
        "无",
        "すみません",
        "конечно",
        "извините",
    }
)
SPEECH = frozenset(
    "i i'm i've you your he she it's we they this that these those here here's there there's is are was were be been "
    "sorry please cannot can't don't would could should have has based provided following caption description".split()
)
"""Words of a sentence, not of a keyword; English, as most talk around an answer is."""


def keywords_in(answer: str, *, most: int, finished: bool = True) -> tuple[str, ...]:
    """The keywords of one answer in lower case, in their order, none twice; empty where none is usable.

    A keyword stands between separators or in a line of its own, has a letter and at most ``MOST_WORDS`` words, and is
    no part of a sentence. Explanations behind a colon, a dash or in brackets are dropped, and thoughts (``<think>``).
    Variants of one character are made equal (Unicode NFKC), scripts and languages are kept as they are.

    Args:
        answer: the LLM's text.
        most: the most keywords to return.
        finished: False if the LLM was stopped: its last phrase may be cut off and is dropped.
    """
    # Some chat templates open the thought in the prompt: the answer then has its end tag alone.
    text = THOUGHT.sub(" ", answer).rpartition("</think>")[2]
    # Circled numbers before NFKC, which turns them into bare digits.
    text = unicodedata.normalize("NFKC", CIRCLED.sub("\n- ", text)).replace("’", "'")
    text = FENCE.sub("\n", CHAT_TOKEN.sub("\n", text)).translate(str.maketrans("", "", '[]{}"'))
    candidates: list[str] = []
    for line in text.splitlines():
        phrases = _phrases(line)
        if phrases is None:
            break
        candidates += phrases
    if not finished:
        candidates = candidates[:-1]
    return tuple(dict.fromkeys(phrase for phrase in candidates if _usable(phrase)))[:most]


def _phrases(line: str) -> list[str] | None:
    """The line's candidates; ``None`` where the answer ends."""
    listed = BULLET.match(line)
    if listed and (entries := NUMBER_INSIDE.split(line))[1:]:  # "1. Film noir 2. Rain" in one line
        return [phrase for entry in entries for phrase in _phrases(entry) or ()]
    line = ASIDE.sub(" ", BULLET.sub("", line))
    head, colon, tail = line.partition(":")
    if colon and not listed and head.strip(WRAPPING).lower() in END:
        return None
    if colon and _is_label(head):  # "Keywords: film noir, rain"
        line = tail
    elif colon and listed:  # "1. Film noir: a dark style"
        line = head
    elif colon and "," in tail and ":" not in tail:  # "Here are three for the item: film noir, rain"
        line = tail
    elif listed:  # "- Film noir – a dark style"
        line = DASH.split(line)[0]
    return [_phrase(text) for text in SEPARATOR.split(line) if text.strip(WRAPPING)]


def _is_label(head: str) -> bool:
    """Whether keywords, and no explanation, follow behind the colon."""
    return bool(LABEL.search(head) or CATEGORY.fullmatch(head.strip(WRAPPING)))


def _phrase(text: str) -> str:
    """One candidate without its bullet, label, explanation, quotes, full stop, article and capitals."""
    head, colon, tail = BULLET.sub("", text).partition(":")
    keyword = tail if colon and _is_label(head) else head
    return CONJUNCTION.sub("", " ".join(keyword.strip(WRAPPING).lower().split()))


def _usable(phrase: str) -> bool:
    """Whether a candidate is a keyword: short, with a letter, no filler, and no words of a sentence."""
    words = phrase.split()
    # Thai and Lao, Japanese kana, Chinese characters.
    longest = MOST_UNSPACED if re.search(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]", phrase) else MOST_LETTERS
    return (
        any(letter.isalpha() for letter in phrase)
        and len(words) <= MOST_WORDS
        and len(phrase) <= longest
        and phrase not in FILLERS
        and not SPEECH.intersection(words)
        and not LABEL.fullmatch(phrase)
    )
