"""Whether a text tells somebody to call a tool or to run a command, in the languages listed here.

For `experience.concerns`: a lesson from users' words that does so waits for a person. What is
looked for is a verb and the thing that it is done with, near each other in one sentence. In other
languages nothing is seen.
"""

import re
from typing import NamedTuple

REACH = 60  # characters between a verb and what it is done with

_COMMAND = re.compile(r"\b(?:curl|wget|sudo|rm\s{1,3}-|powershell|bash|eval|exec)\b")
_STOP = re.compile("[.\n\u3002!?]")
_LOANS = r"tools?|scripts?|shell|terminal|webhooks?|e-?mails?"


class _Language(NamedTuple):
    """Patterns of one language: verbs, what they are done with, and which may come first.

    The verb comes before the noun; with ``verb_last`` it may also come after it.
    """

    verbs: str
    nouns: str
    verb_last: bool = False


_ENGLISH = _Language(
    r"\b(?:call|run|use|execute|invoke|open|send|post|upload|download|install)\b",
    rf"\b(?:{_LOANS}|functions?|commands?|endpoints?|payments?)\b",
)
_GERMAN = _Language(
    r"\b(?:rufe?n?|aufrufen|aufzurufen|nutzen?|benutz\w{1,3}|verwend\w{1,3}|führen?|ausführen|"
    r"auszuführen|starten?|sende[nt]?|schicken?|öffnen?|laden?|herunterladen|installier\w{1,3})\b",
    rf"\b(?:{_LOANS}|mail|werkzeuge?s?|funktion(?:en)?|befehle?|kommandos?|skripte?|"
    r"konsole|endpunkte?|schnittstellen?|zahlung(?:en)?|überweisung(?:en)?)\b",
    verb_last=True,
)
_FRENCH = _Language(  # "commande" is also what a customer has ordered
    r"\b(?:appel(?:le|lez|er)|utilise[rz]?|exécute[rz]?|lance[rz]?|invoque[rz]?|envoie|envoye[rz]|"
    r"ouvre[rz]?|ouvrir|télécharge[rz]?|installe[rz]?)\b",
    rf"\b(?:{_LOANS}|outils?|fonctions?|courriels?|paiements?|virements?|"
    r"(?<=e la )commande|(?<=z la )commande)\b",
)
_SPANISH = _Language(
    r"\b(?:llam(?:a|ar|e)|utilizar?|utilice|usar?|use|ejecutar?|ejecute|invocar?|invoque|"
    r"envía|envíe|enviar|abr(?:a|e|ir)|descargar?|instalar?)\b",
    rf"\b(?:{_LOANS}|herramientas?|función|funciones|comandos?|correos?|pagos?|transferencias?)\b",
)
_RUSSIAN = _Language(  # "команда" is also a team
    r"\b(?:вызов|вызыва|вызва|запусти|запуска|использу|выполн|отправ|откро|скача|"
    r"установи)\w{0,9}\b",
    rf"\b(?:{_LOANS})\b|\b(?:инструмент|функци|скрипт|терминал|письм|плат[её]ж)\w{{0,4}}\b"
    r"|(?<=выполни )команду|(?<=запусти )команду|(?<=выполнить )команду|(?<=выполните )команду",
)
_CHINESE = _Language(
    "调用|調用|呼叫|运行|運行|执行|執行|使用|打开|打開|发送|發送|下载|下載|安装|安裝",
    "工具|函数|函數|命令|脚本|腳本|终端|終端|邮件|郵件|付款|接口|插件",
    verb_last=True,
)
_JAPANESE = _Language(
    "呼び出|呼んで|実行|起動|使用|使って|使い|使う|送信|送って|送る|開いて|開く|ダウンロード|インストール",
    "ツール|関数|コマンド|スクリプト|ターミナル|メール|支払い|送金",
    verb_last=True,
)


def _pattern(language: _Language) -> re.Pattern[str]:
    return re.compile(f"(?P<verb>{language.verbs})|(?P<noun>{language.nouns})")


# without re.IGNORECASE, in a text of small letters: the engine then skips by first letters
_PATTERNS = tuple(
    (_pattern(language), language.verb_last)
    for language in (_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _RUSSIAN, _CHINESE, _JAPANESE)
)


def has_somebody_act(said: str) -> bool:
    """Tell whether a text names a command, or a verb together with a tool that it is done with.

    Together: in one sentence, at most `REACH` characters apart. Each word is looked at once, so
    time grows linearly with the text.
    """
    said = said.lower()
    if _COMMAND.search(said):
        return True
    return any(_meet(pattern, said, verb_last=verb_last) for pattern, verb_last in _PATTERNS)


def _meet(pattern: re.Pattern[str], said: str, *, verb_last: bool) -> bool:
    """Tell whether a verb and a noun of one language meet in a text, in an order that it allows."""
    verb_ended = noun_ended = -REACH - 1
    for found in pattern.finditer(said):
        if found.lastgroup == "noun":
            if _is_near(verb_ended, found.start(), said):
                return True
            noun_ended = found.end()
        else:
            if verb_last and _is_near(noun_ended, found.start(), said):
                return True
            verb_ended = found.end()
    return False


def _is_near(end: int, begin: int, said: str) -> bool:
    return begin - end <= REACH and not _STOP.search(said, end, begin)
