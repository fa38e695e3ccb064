"""Masks secrets and personal data in text before it leaves the process.

`redact` is the default hook for recorded agent traffic. It replaces

- by `[key]`: API keys and tokens of known forms (OpenAI, Anthropic, AWS, GitHub, GitLab, Slack,
  Google, Hugging Face, Stripe, LangSmith and others), JSON web tokens, `Bearer ...`, blocks of
  private keys, what is assigned to names such as `password`, `api_key` or `secret`, and passwords
  in URLs,
- by `[email]`: e-mail addresses,
- by `[card]`: payment card numbers, if they pass the Luhn check.

It is a net with holes, not a guarantee. It knows forms and not meanings: "my password is ..." in a
sentence, a passphrase of several words, a key whose form is not listed here, names, addresses,
telephone numbers and bank accounts pass through. What must never leave needs a stricter hook, or
should not be recorded.

Any callable `str -> str` can be the hook instead (`open_memory(..., redact=hook)`), and it can
begin with this one:

    def hook(text: str) -> str:
        return CUSTOMER_NUMBER.sub("[customer]", redact(text))

Time grows linearly with the text, whatever stands in it: repetitions are possessive or bounded, and
a form that may be long begins only where the character before it could not be part of it, so no
stretch is tried from each of its letters.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

__all__ = [
    "keyed_hash",
    "redact",
]

KEY = "[key]"
EMAIL = "[email]"
CARD = "[card]"
SHORTEST_KEY = 16  # bytes

# No form below can contain one of these masks: masking joins nothing to a new form, so the second
# time finds nothing.

# From a private key's first line to its last; of one that was cut off, as far as its lines go. A
# quote after the first line means code that looks for keys.
_PRIVATE_KEY = re.compile(
    r"""
    -----BEGIN\ [A-Z0-9\ ]{0,40}?PRIVATE\ KEY(?:\ BLOCK)?----- (?! \\?["'`] )
    (?: [^-\[]*+ (?: (?: -(?!----) | \[(?!(?:key|email|card)\]) ) [^-\[]*+ )*+
        -----END\ [A-Z0-9\ ]{0,40}?PRIVATE\ KEY(?:\ BLOCK)?-----
      | (?: (?:\s|\\[nr])*+ [A-Za-z0-9+/=]{16,}+ )++
    )
    """,
    re.VERBOSE,
)

# Keys with a prefix of their own. Where only words could follow a prefix, a digit or a capital is
# asked for.
_TOKEN = re.compile(
    r"""
    # in JSON, "\n" ends with a letter
    (?: (?<![A-Za-z0-9_-]) | (?<=\\[bfnrt]) | (?<=\\u[0-9A-Fa-f]{4}) )
    (?:
        # OpenAI, Anthropic, OpenRouter, Langfuse
        sk-(?=[a-z_-]*+[A-Z0-9])[A-Za-z0-9_-]{20,}+
      | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])          # AWS
      | gh[opsur]_[A-Za-z0-9_-]{30,}+(?:\.[A-Za-z0-9_-]{10,}+)*+    # GitHub
      | github_pat_[A-Za-z0-9_]{22,}+
      | glpat-[A-Za-z0-9_-]{20,}+                                   # GitLab
      | xox[abcdeprs](?:\.xox[bp])?-(?=[A-Za-z%-]*+[0-9])[A-Za-z0-9%-]{10,}+    # Slack
      | xapp-[0-9]-[A-Za-z0-9-]{10,}+
      | AIza[A-Za-z0-9_-]{35,}+                                     # Google
      | (?:GOCSPX-|ya29\.)[A-Za-z0-9_-]{20,}+
      | hf_[A-Za-z0-9]{30,}+                                        # Hugging Face
      | (?:[rs]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}+             # Stripe
      | lsv2_(?=[A-Za-z_]*+[0-9])[A-Za-z0-9_]{20,}+                 # LangSmith
        # Groq, Replicate, xAI, Perplexity
      | (?:gsk_|r8_|xai-|pplx-)[A-Za-z0-9]{36,}+
      | nvapi-[A-Za-z0-9_-]{40,}+                                   # NVIDIA
      | npm_[A-Za-z0-9]{36,}+
      | pypi-AgE[A-Za-z0-9_-]{50,}+
      | SG\.[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+                # SendGrid
        # JSON web tokens, signed or encrypted
      | eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){2,4}+
    )
    """,
    re.VERBOSE,
)

# What an HTTP header carries; after a mere "bearer" a digit tells it from a word.
_HEADER = re.compile(
    r"""
    (?P<head> (?<![A-Za-z])(?i:bearer)[ ]++(?=[A-Za-z._~+/-]*+[0-9])
    | (?i:authorization)(?:\\?["'])?+[ ]*+[:=][ ]*+(?:\\?["'])?+
      (?i:basic|bearer|token)[ ]++(?=[a-z]*+[A-Z0-9])
    )
    [A-Za-z0-9._~+/-]{8,}+=*+
    """,
    re.VERBOSE,
)

# Names whose value is a secret.
_NAME = r"""
    (?: pass(?:word|wd|phrase|code)[0-9]? | (?<=[_-])pass | pwd | secret
      | (?:api|access|account|auth|encryption|master|private|secret|signing)[ _-]?key
      | (?:access|api|auth|bearer|bot|refresh|session)[ _-]?token )
"""
# After the name: a closing quote or bracket, a type, one of = := => == and :, and Markdown's
# asterisks.
_IS = r"""
    (?: \\{0,7}["'`] )?+ \]?+ (?: [ ]is(?=:) | [ \t]*+ )
    (?: :[ ]*+(?:SecretStr|string|str)[ ]*+= | :=? | =[=>]? ) \*{0,2}+ [ \t]*+
"""
# In quotes one word, unless it is a placeholder (of ours or another's), a word of a schema or a
# variable's name. What opens a value closes it, with as many backslashes: in a string of JSON it
# has some, and quotes inside have more. A quote before , : } or ] ends a string of JSON around it.
# Of a text that was cut off, the end closes the value.
_QUOTED = r"""
    (?P<open> \\{0,7}["'`] )
    (?! (?: string | str | text | password | secret | hidden
          | null | none | true | false | required | optional
          | \$?\{{1,2}[^\s{}]{0,80}\}{1,2} | <[^\s<>]{0,80}>
          | [A-Z0-9_-]{0,20}\.\.\. | your[_-][A-Z_-]{1,40}
          | \*++ | (?:%[sdr]|[:@])++ | (?-i:[A-Z]++(?:_[A-Z]++)++)
        ) (?P=open) )
    (?: (?: (?! (?<!\\)(?P=open) | \\{0,7}["'`][,:}\]] | \[(?:key|email|card)\] ) \S ){4,}+
        (?= (?P=open) )
      | (?: (?! \[(?:key|email|card)\] ) [^\s"'`\\] ){4,}+ \Z )
"""
# Without quotes a value ends where words end in code, shells and URLs. Neither "=" nor ":" is in
# it, so that no other assignment begins inside; what follows one of these is taken once the value
# is known to be a secret.
_CHARACTER = r"""[^\s"'`,;&<>(){}\[\]=:|\\]"""
_BARE = rf"""
    # no secrets: a variable; an attribute; a path, which is where one lies; how one is written;
    # what a guide puts there
    (?! (?: \$[A-Z_][A-Z0-9_]*+
          | [A-Z_]\w{{0,30}}(?:\.[A-Z_]\w{{0,30}}){{1,9}}
          | (?:~|\.{{1,2}})?/{_CHARACTER}*+
          | (?:base64|md5|sha-?[0-9]{{1,3}}|utf-?8)(?:-[A-Z]{{1,20}})?
          | your[_-][A-Z0-9_-]{{1,40}}
        ) (?!{_CHARACTER}) )
    {_CHARACTER}{{6,}}+ (?![(\[]) (?: [=:]{_CHARACTER}++ )*+ ={{0,2}}+
"""
_WITH_DIGIT = r"""(?= [^\s"'`,;&<>(){}\[\]=:|\\0-9]*+ [0-9] )"""

_ASSIGNMENT = re.compile(
    rf"""
    (?= [-bemprs] | a[cpu] )    # how the names begin: for speed
    (?P<head> {_NAME}{_IS} | (?<![\w\]-])--(?:[a-z]{{1,20}}-){{0,3}}(?:{_NAME}|token)[ ]++ )
    (?: {_QUOTED} | {_WITH_DIGIT}{_BARE} )
    """,
    re.VERBOSE | re.IGNORECASE,
)

# An environment variable's value may be letters alone, but not the name of another variable.
_VARIABLE = re.compile(
    rf"""
    (?P<head> (?: PASS(?:WORD|WD|PHRASE)? | SECRET
                | (?:API|ACCESS|PRIVATE|SECRET)_?KEY | (?:ACCESS|AUTH)_?TOKEN )= )
    (?! [A-Z_]++(?!{_CHARACTER}) ) (?i:{_BARE})
    """,
    re.VERBOSE,
)

# A "token" may be a word or a number: only long mixtures of letters and digits that are no
# identifier are secrets.
_NAMED_TOKEN = re.compile(
    rf"""
    (?P<head> token{_IS}(?: \\{{0,7}}["'`] )?+ )
    (?! [a-z]++(?:_[a-z0-9]++)++(?!{_CHARACTER}) )
    (?= [A-Z._~+/-]*+[0-9] ) (?= [0-9._~+/-]*+[A-Z] )
    [A-Z0-9._~+/-]{{16,}}+ (?![(\[]) ={{0,2}}+
    """,
    re.VERBOSE | re.IGNORECASE,
)

# Up to the last "@" before the path, since one may stand in a name or a password. Templates stay.
_URL_PASSWORD = re.compile(
    r"""
    (?P<head> :// (?: (?!\[card\]) [^\s/?#:"'<>] )*+ : ) (?! [$%]?[{(\[] | \$[A-Z_]++@ | @ )
    (?: (?: (?! \[(?:key|email|card)\] ) [^\s/?#@"'<>] )*+ @ )++
    """,
    re.VERBOSE,
)

# Letters are those of scripts that put spaces between words (Latin, Greek, Cyrillic): elsewhere an
# address would take the sentence before it along. What stays: git@host:path, logo@2x.png,
# package@1.2.3, and x@self.weight of Python.
_LETTERS = r"A-Za-z\u00C0-\u024F\u0370-\u052F"
_ADDRESS = rf"""
    (?! (?:git|hg|svn)@ ) [{_LETTERS}0-9][{_LETTERS}0-9._+-]*+
    (?:@|%40) (?! [0-9](?:\.[0-9])?x\. | self\. )
    (?:[{_LETTERS}0-9-]{{1,63}}+\.){{1,20}}[{_LETTERS}]{{2,24}}+ (?![{_LETTERS}0-9(])
"""
_EMAIL = re.compile(
    rf"""
    # "\n" of JSON is no part of an address
    (?: (?<![{_LETTERS}0-9._+-]) (?! (?<=\\)(?:[bfnrt]|u[0-9A-Fa-f]{{4}}) )
      | (?<=\\[bfnrt]) | (?<=\\u[0-9A-Fa-f]{{4}}) )
    (?P<head> [._+-]*+ ) {_ADDRESS} (?: [._+-]++ {_ADDRESS} )*+
    """,
    re.VERBOSE,
)

# The digits stand together, or in the groups printed on cards; after these an expiry date or a
# check number may follow. Four-digit groups on either side make it a row of numbers, a point or a
# factor beside it makes it mathematics.
_CARD = re.compile(
    r"""
    (?<![\w+]) (?<![0-9]\.) (?<![0-9]{4}[ -])
    (?P<card> [0-9]{13,19}
      | [0-9]{4}(?P<s>[ -])[0-9]{4}(?P=s)[0-9]{4}(?P=s)[0-9]{1,4}
      | [0-9]{4}(?P<z>[ -])[0-9]{6}(?P=z)[0-9]{4,5}
    )
    (?P<more> [ -][0-9]{1,3} )?+
    (?! \w | \.[0-9] | [ -][0-9]{4} | \*{1,2}[a-z(] )
    """,
    re.VERBOSE,
)
_FOUR_DIGITS = re.compile("[0-9]{4}")  # are in each of these, and sooner found
# The numbers that the large networks give out, by beginning and length; timestamps and most
# identifiers are none.
_ISSUED = re.compile(
    r"""
    4(?:\d{12}|\d{15}|\d{18})                                   # Visa
  | (?:5[1-5]|2[2-7])\d{14}                                     # Mastercard
  | (?:5[0678]|6\d)\d{14,17}                                    # Maestro, Discover, UnionPay
  | 35\d{14}                                                    # JCB
  | 3[47]\d{13}                                                 # American Express
  | 3[0689]\d{12}                                               # Diners
    """,
    re.VERBOSE,
)


def _masked_card(match: re.Match[str]) -> str:
    """Mask what looks like a card number if it is one, with the group that follows or without."""
    card, more = match["card"], match["more"] or ""
    if _is_card(card + more):
        return CARD
    if _is_card(card):
        return CARD + more
    return match[0]


def _is_card(text: str) -> bool:
    """Whether the digits are ones that a card can have, the last one checking the others (Luhn)."""
    digits = text.replace(" ", "").replace("-", "")
    if not _ISSUED.fullmatch(digits):
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(doubled)) % 10 == 0


def _masked_value(match: re.Match[str]) -> str:
    return f"{match['head']}{match['open'] or ''}{KEY}"


@dataclass(frozen=True)
class _Rule:
    """What is masked, and what must stand in a text that has it.

    The latter is for speed: nearly no text has any of it, and a search for a word takes a
    hundredth of the time that a pattern takes.

    Attributes:
        pattern: finds it.
        replacement: stands in its place.
        needs: one of these is in every match, where ``in_any_case`` in lower case.
        in_any_case: letters match in upper and lower case.
    """

    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]
    needs: tuple[str, ...]
    in_any_case: bool = False

    def masked(self, text: str) -> str:
        """Mask what is found."""
        # of letters beyond ASCII some are the lower case of several others
        is_told = not self.in_any_case or text.isascii()
        among = text.lower() if self.in_any_case else text
        if is_told and not any(word in among for word in self.needs):
            return text
        return self.pattern.sub(self.replacement, text)


_BEGINNINGS = (
    *("sk-", "AKIA", "ASIA", "ABIA", "ACCA", "gho_", "ghp_", "ghs_", "ghu_", "ghr_"),
    *("github_pat_", "glpat-", "xox", "xapp-", "AIza", "GOCSPX-", "ya29.", "hf_"),
    *("k_live_", "k_test_", "whsec_", "lsv2_", "gsk_", "r8_", "xai-", "pplx-", "nvapi-"),
    *("npm_", "pypi-AgE", "SG.", "eyJ"),
)

# In this order: longer forms come before those that they may contain.
_RULES = (
    _Rule(_PRIVATE_KEY, KEY, ("PRIVATE KEY",)),
    _Rule(_TOKEN, KEY, _BEGINNINGS),
    _Rule(_HEADER, rf"\g<head>{KEY}", ("bearer", "authorization"), in_any_case=True),
    _Rule(_URL_PASSWORD, rf"\g<head>{KEY}@", ("://",)),
    _Rule(_ASSIGNMENT, _masked_value, ("pass", "pwd", "secret", "key", "token"), in_any_case=True),
    _Rule(_VARIABLE, rf"\g<head>{KEY}", ("=",)),
    _Rule(_NAMED_TOKEN, rf"\g<head>{KEY}", ("token",), in_any_case=True),
    _Rule(_EMAIL, rf"\g<head>{EMAIL}", ("@", "%40")),
)


def redact(text: str) -> str:
    """Mask the secrets and personal data that can be told by their form (the module says which).

    A text that was redacted stays as it is when it is redacted again.

    Args:
        text: Anything an agent reads or writes: prose, code, logs, JSON.

    Returns:
        The text with `[key]`, `[email]` and `[card]` in the places of what was found.
    """
    for rule in _RULES:
        text = rule.masked(text)
    return _CARD.sub(_masked_card, text) if _FOUR_DIGITS.search(text) else text


def keyed_hash(key: str | bytes) -> Callable[[str], str]:
    """A hook for ``open_memory(identify=...)`` that stores keyed hashes in place of names.

    Principals and conversations are stored as the first 32 hexadecimal digits of an HMAC-SHA-256.
    Who has the key can tell whether somebody is among the stored ones; who has not can neither tell
    nor guess names. With another key everybody is somebody else.

    Raises:
        ValueError: the key has fewer than 16 bytes.
    """
    secret = key.encode() if isinstance(key, str) else key
    if len(secret) < SHORTEST_KEY:
        raise ValueError(
            f"the key has {len(secret)} bytes; "
            f"use at least {SHORTEST_KEY}, such as secrets.token_hex(16)"
        )
    return partial(_keyed, secret)


def _keyed(secret: bytes, name: str) -> str:
    return hmac.new(secret, name.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]
