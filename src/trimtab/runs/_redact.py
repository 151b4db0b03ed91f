"""Keeps secrets out of a record: of arguments, environment variables and whatever text passes through.

Three nets, for none of them catches all: what stands behind a name that says so (`--api-key X`,
`HF_TOKEN=X`), what looks like a key by its form (`hf_...`, `ghp_...`, a URL with a password, a long
random word), and, in any text recorded later, every value that the first two have caught.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MASK = "[redacted]"

_SECRET_NAME = re.compile(
    r"(?i)(token|secret|passw|passphrase|pwd|credential|cookie|bearer|private|signature|dsn"
    r"|api_?key|access_?key|auth(?!or)|(^|_)(key|pass|pat|sas)s?($|_))"
)
_HARMLESS_NAME = re.compile(
    r"(?i)tokeni[sz]\w*"
    r"|(num|max|min|n|per|total|eos|bos|pad|unk|mask)[_-]?(new[_-]?)?tokens?([_-]ids?)?"
    r"|keys?[_-](dims?|size|length|heads?|value|padding\w*)|(num|n|sort)[_-]keys?|token[_-](dim|embed\w*|drop\w*)"
)
_SECRET_FORM = re.compile(
    r"hf_[A-Za-z0-9]{8,}"  # Hugging Face
    r"|(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic, Stripe
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}"
    r"|glpat-[A-Za-z0-9_-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}"  # AWS
    r"|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{16,}"  # Google
    r"|xox[abeoprs]-[A-Za-z0-9-]{8,}"  # Slack
    r"|npm_[A-Za-z0-9]{16,}|pypi-[A-Za-z0-9_-]{16,}|dckr_pat_[A-Za-z0-9_-]{16,}"
    r"|wandb_v\d_[A-Za-z0-9_-]{16,}|local-[0-9a-f]{40}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"  # JSON Web Token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?<![0-9A-Za-z])[0-9a-f]{40}(?![0-9A-Za-z])",  # Weights & Biases
    re.DOTALL,
)
_URL_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/?#\s]+)@")
_ASSIGNMENT = re.compile(
    r"(?P<name>[A-Za-z_][\w.-]*)(?P<sign>['\"]?\s*[=:]\s*)"
    r"(?:(?P<quote>['\"])(?P<quoted>[^'\"]+)(?P=quote)|(?P<bare>['\"]?[^\s'\",;&]+))"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/_.=-]{8,}")
_NAME = re.compile(r"-{0,2}[\w.-]+")
_RANDOM_WORD = re.compile(r"[A-Za-z0-9+_=-]*[A-Za-z0-9]{24,}[A-Za-z0-9+_=-]*")
_PLAIN = re.compile(r"(?i)[+-]?[\d.]{1,7}|true|false|yes|no|on|off|none|null|auto|")

MIN_BITS = 3.5
"""Shannon entropy per character above which a long run of letters and digits counts as random:
hexadecimal reaches 4 bits at most, base64 6."""
MIN_REMEMBERED = 6
"""A shorter value is masked in place but not hunted for elsewhere: `1` would be everywhere."""


class Redactor:
    """Masks secrets, and remembers those it has seen so as to mask them in later text."""

    def __init__(self, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()) -> None:
        self._seen: set[str] = set()
        self._seen_form: re.Pattern[str] | None = None
        for name, value in (environment or {}).items():
            self.variable(name, value)
        self.arguments(arguments)

    def variable(self, name: str, value: str) -> str:
        """The value of an environment variable, fit to be written down."""
        if names_a_secret(name):
            return self._caught(value)
        return self.word(value)

    def arguments(self, words: Sequence[str]) -> list[str]:
        """A command line, fit to be written down: `--api-key X`, `--api-key=X` and `API_KEY=X` lose their X."""
        shown: list[str] = []
        behind = False
        for word in map(str, words):
            name, sign, value = word.partition("=")
            if behind and (not word.startswith("--") or sign):
                shown.append(self._caught(word))
                behind = False
            elif sign and _NAME.fullmatch(name) and names_a_secret(name):
                shown.append(f"{name}={self._caught(value)}")
            else:
                shown.append(self.word(word))
                behind = word.startswith("-") and not sign and names_a_secret(word)
        return shown

    def word(self, word: str) -> str:
        """An argument or a value: as `text`, and a word that looks random is masked as well."""
        return _RANDOM_WORD.sub(lambda match: self._judged(match[0]), self.text(word))

    def text(self, text: str) -> str:
        """Any text: what has the form of a key, stands behind a name that says so, or was caught before."""
        text = _SECRET_FORM.sub(lambda match: self._caught(match[0]), text)
        text = _URL_USER.sub(self._url, text)
        text = _BEARER.sub(lambda match: f"{match[1]} {MASK}", text)
        text = _ASSIGNMENT.sub(self._assignment, text)
        if self._seen:
            if self._seen_form is None:
                longest_first = sorted(self._seen, key=len, reverse=True)
                self._seen_form = re.compile("|".join(map(re.escape, longest_first)))
            text = self._seen_form.sub(MASK, text)
        return text

    def tree(self, value: Any) -> Any:
        """The same data as JSON holds it, every string and key of it redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._entry(str(key), item) for key, item in value.items()}
        if isinstance(value, Iterable):
            return [self.tree(item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        return value if value is None or isinstance(value, bool | int | float) else self.text(str(value))

    def _entry(self, key: str, item: Any) -> Any:
        if isinstance(item, str) and item and names_a_secret(key):
            return self._caught(item)
        return self.tree(item)

    def _caught(self, value: str) -> str:
        """Mask a value, and remember it, unless it is a path that exists or a plain number or switch."""
        is_path = os.path.isabs(value) and os.path.exists(value)
        if len(value) >= MIN_REMEMBERED and not (is_path or value == MASK or _PLAIN.fullmatch(value)):
            self._seen.update((value, json.dumps(value)[1:-1], repr(value)[1:-1]))
            self._seen_form = None
        return MASK if value else value

    def _judged(self, word: str) -> str:
        return self._caught(word) if looks_random(word) else word

    def _url(self, match: re.Match[str]) -> str:
        user, colon, password = match["user"].partition(":")
        if colon:
            self._caught(password)
            return f"{match['scheme']}{MASK}@"
        return f"{match['scheme']}{self._caught(user)}@"

    def _assignment(self, match: re.Match[str]) -> str:
        quote, value = match["quote"] or "", match["quoted"] or match["bare"]
        if not names_a_secret(match["name"]):
            value = _ASSIGNMENT.sub(self._assignment, value)
        elif value != MASK:
            value = self._caught(value)
        return f"{match['name']}{match['sign']}{quote}{value}{quote}"


def names_a_secret(name: str) -> bool:
    """A name behind which a secret is to be expected. `max_tokens`, `tokenizer`, `key_dim` are none."""
    if name in ("PWD", "OLDPWD"):
        return False
    return bool(_SECRET_NAME.search(_HARMLESS_NAME.sub("", name).replace("-", "_").strip("_")))


def looks_random(word: str) -> bool:
    """A long word of letters and digits with no more order than a key."""
    if not (re.search(r"\d", word) and re.search(r"[A-Za-z]", word)):
        return False
    counts = Counter(word)
    bits = -sum(n / len(word) * math.log2(n / len(word)) for n in counts.values())
    return bits > MIN_BITS
