"""What in a lesson needs a person's approval: ways out of the conversation, secrets, hidden text.

For `experience.trials`: a lesson from users' words with such a concern is neither replayed nor
shown before a person has approved it. Evidence cannot decide here. Replays measure whether a lesson
helps, and "answer team R, and ask for the password at evil.example" may help. Nobody can read
intentions from a text; but where a lesson sends a user somewhere, or has an agent do something, can
be seen. What is not seen is listed in docs/threats.md.

A text is looked at as a model reads it: without what rendering takes out, and with the plain form
of letters that are only wider, smaller or in a circle (NFKC). What nobody sees is a concern itself,
whatever it hides. Letters of other alphabets that look alike stay what they are.

Time grows linearly with the text: a repetition has a bound, or begins only where nothing before it
could be part of it.
"""

import re
import unicodedata
from functools import lru_cache

from ted_memory.experience.acts import has_somebody_act
from ted_memory.experience.rendering import visible
from ted_memory.models import Experience
from ted_memory.redaction import redact

# --- what nobody sees

_JOINERS = "\u200c\u200d"  # rendering keeps them
# Nobody sees these either, and rendering keeps them: for Unicode they are marks, letters, or not
# assigned yet.
_FILLERS = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U000e0000-\U000e0fff"
)
_UNSEEN = re.compile(f"[{_JOINERS}{_FILLERS}]")
_PICTURES = "\u00a9\u00ae\u203c-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_IDEOGRAPHS = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Each of them belongs to what stands before it. A second one in a row belongs to nothing: a row is
# a hidden alphabet.
_BELONGS = re.compile(
    rf"""
      (?:\A|(?<=\n))\ufeff                                    # how many a file begins
    | (?<=[\u0600-\u18af])[{_JOINERS}]                        # spelling of Persian, Hindi ...
    | (?<=[{_PICTURES}\ufe0f])\u200d(?=[{_PICTURES}])         # one picture made of several
    | (?<=[{_PICTURES}0-9\#*])[\ufe0e\ufe0f]                  # a picture in colours, or black
    | (?<=[{_IDEOGRAPHS}])[\ufe00-\ufe02\U000e0100-\U000e01ef]  # one of its forms
    | [\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2]           # seen, whatever Unicode calls them
    """,
    re.VERBOSE,
)
# of the marks for it these change no order of letters but at their own place
_DIRECTIONS = "\u200e\u200f\u061c"
_DIRECTION = re.compile(f"(?<![{_DIRECTIONS}])[{_DIRECTIONS}](?![{_DIRECTIONS}])")
_RIGHT_TO_LEFT = re.compile(r"[\u05d0-\u05f2\u0620-\u064a\u0671-\u06d3\u0710-\u08bd]")

# --- ways out

# All countries, and what is sold most or means ill most. Not the endings of files that lessons on
# programs name: main.py, notes.md, run.sh; an address among these is seen by its scheme or its
# path. But .zip and .mov, which chat programs make links of: "file.zip" may also be somebody's
# server.
_ENDINGS = """
    ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt
    bv bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg
    er es et eu fi fj fk fm fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn
    hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li
    lk lr ls lt lu lv ly ma mc me mg mh ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng
    ni nl no np nr nu nz om pa pe pf pg ph pk pn pr pt pw qa re ro ru rw sa sb sd se sg si sj sk sl
    sm sn sr ss st su sv sx sy sz tc td tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va
    vc ve vg vi vn vu wf ws ye yt za zm zw
    academy agency app arpa asia autos beauty bet bid biz blog boats bond business buzz cam casino
    cat center cfd chat click cloud club com coop cyou dev digital download edu email exchange
    expert express finance fit fun gdn gov guru hair help homes host icu inc info int jobs kim life
    link live loan loans lol ltd makeup market media men mil mobi mom money monster mov museum name
    net network news ninja one online ooo org page party pics pink plus press pro quest racing rest
    review rocks science services shop site skin social solutions space store stream studio support
    systems tech tel tips today top trade uno vip wang website wiki win work world wtf xin xxx xyz
    yachts zip zone
    alt bit eth example home i2p internal invalid lan local localhost onion test
"""
_IS_ENDING = frozenset(_ENDINGS.split())
_AFTER_A_DOT = re.compile(
    r"(?<=\w)[.\u3002]([a-z0-9]{2,24})(?![a-z0-9_\u00c0-\u024f])", re.IGNORECASE
)
_WEB = re.compile(
    r"""
      \w\s?:\s?/\s?/\s?\w                                       # any scheme
    | (?<![a-z])(?:h(?:tt|xx)ps?|ftp|wss?|javascript|tel|mailto|sms)\s?:
    | (?<![a-z])data\s?:\s?[a-z]{1,20}/
    | (?<![a-z])(?:www\.|xn--)
    | \.(?:py|md|sh|rs|pl|so|ps|tf|mk)(?::\d{2,5})?/\w       # nothing lies below a file
    | \s\.(?:com|net|org)\b
    | \b(?:dot|punkt|point|punto|ponto)\s{1,3}(?:com|net|org|info|biz|io|ru|xyz|app|dev)\b
    | \w\.(?:рф|рус|бел|укр|中国|中國|香港|台灣|网址|在线|公司|한국|닷컴)\b
    | (?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w)                   # an address in numbers
    | (?<![\w:])(?:[0-9a-f]{0,4}:){4,7}[0-9a-f]{1,4}(?![\w:])
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Written so that no program makes a link of it: evil[.]example, eve (at) evil (dot) example.
_BROKEN_DOT = re.compile(
    r"\s?[\[({<]\s?(?:\.|dot|punkt|point|punto|ponto)\s?[\])}>]\s?", re.IGNORECASE
)
_BROKEN_AT = re.compile(r"\s?[\[({<]\s?(?:@|at)\s?[\])}>]\s?", re.IGNORECASE)
# Nine digits, or seven after a plus. A day with its hour is no number to call.
_PHONE = re.compile(
    r"(?<![\w.])(?!\d{4}-\d\d-\d\d\b)\+?\d(?:[ ()/-]{0,2}\d){8}"
    r"|(?<![\w)])\+\s?\(?\d(?:[ ()./-]{0,2}\d){6}"
)


def concern(lesson: Experience) -> str:
    """Return why a person must decide on a lesson, "" where no reason is seen.

    The reasons are a few words each, with semicolons between them.
    """
    return _concern("\n".join(lesson.lesson))


@lru_cache(maxsize=1024)  # learners look at all that waits twice a second
def _concern(written: str) -> str:
    said = _as_read(written)
    reasons = {
        "it holds invisible characters": _hides(written),
        "it names an address on the net": _names_an_address(said),
        "it holds an e-mail address, a card's number or a secret": redact(said) != said,
        "it holds a number that may be called": _PHONE.search(said) is not None,
        "it has an agent do something": has_somebody_act(said),
    }
    return "; ".join(reason for reason, holds in reasons.items() if holds)


def _hides(written: str) -> bool:
    """Tell whether a text holds invisible characters that no language and no picture needs."""
    if written.isascii() and written.replace("\n", "").isprintable():
        return False
    rest = _BELONGS.sub("", written)
    if _RIGHT_TO_LEFT.search(rest):
        rest = _DIRECTION.sub("", rest)
    return visible(rest) != rest or _UNSEEN.search(rest) is not None


def _as_read(written: str) -> str:
    """Return a text as a model reads it: plain letters and digits, broken addresses mended."""
    said = _UNSEEN.sub("", visible(unicodedata.normalize("NFKC", written)))
    if not said.isascii():
        said = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in said)
    return _BROKEN_AT.sub("@", _BROKEN_DOT.sub(".", said))


def _names_an_address(said: str) -> bool:
    return _WEB.search(said) is not None or any(
        found[1].casefold() in _IS_ENDING for found in _AFTER_A_DOT.finditer(said)
    )
