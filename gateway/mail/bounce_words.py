"""The words by which bounces in prose can be told, in the languages of the servers that write them."""

from __future__ import annotations

import re

from gateway.mail import parse as mime
from gateway.mail.parse import Part

TEXT_MAX = 64 * 1024
"""Characters of a report's own words that are looked at."""

DAEMON = re.compile(
    r"mailer-?[ _]?daemon|mail-?daemon|postmaster|(?:mail|message) (?:delivery|transport|transfer) ?(?:sub)?"
    r"(?:system|service|agent)|mail (?:administrator|system)|system administrator|delivery (?:subsystem|service)|"
    r"mmdf|microsoft exchange|microsoft outlook|email delivery|mail-?router|bounce[sr]?@|mdaemon|uucp@|smtp gateway|"
    r"(?:internet )?mail delivery",
    re.IGNORECASE,
)
"""Who writes bounces, in their From."""

SUBJECT = re.compile(
    r"undeliver|non[ -]?deliver|not (?:be )?deliver|delivery[ -]+(?:status )?(?:notification|failure|failed|has failed|"
    r"problem|error|report|delay|warning)|deliver(?:y)? (?:status )?notification|"
    r"(?:mail|message|email) (?:delivery )?(?:failed|failure|error|status|delayed|warning|not delivered)|"
    r"returned (?:mail|message|to sender|email)|failure (?:notice|notification|delivery)|failed mail|mail could not|"
    r"\bnondeliverable|returning message|user unknown|mail system error|message you sent blocked|could not send|"
    r"warning: message|warning: could not|delayed mail|(?:mail|message) (?:is )?delayed|ndn:|\bndr\b|\bdsn\b|"
    r"nicht zustellbar|unzustellbar|nicht zugestellt|zustellung|zurück an|mail-?zustellfehler|"
    r"non remis|échec (?:de|d'|lors)|n'a pas (?:pu être|été)|message non (?:distribu|délivr)|retard de|"
    r"no (?:se )?(?:ha )?(?:podido |pudo )?entrega|correo devuelto|mensaje devuelto|no entregado|error de entrega|"
    r"mancat[ao] (?:consegna|recapito)|non (?:è stato )?(?:consegnat|recapitat)|messaggio non|"
    r"não (?:foi )?(?:entregue|pôde)|falha (?:na|de) entrega|onbestelbaar|niet (?:worden )?(?:be|af)geleverd|"
    r"kunde inte levereras|ikke leveres|olevererat|kunne ikke|niedostarcz|nie (?:można|udało)|zwrot|"
    r"nedoručiteln|toimitus epäonnistui|недостав|не (?:может быть )?доставлен|ошибка доставки|возвращ|"
    r"投递失败|退信|無法傳遞|无法投递|配信不能|配信エラー|送信できません|未达|반송|배달",
    re.IGNORECASE,
)
"""What bounces and delays are called."""

DELAY = re.compile(
    r"\bdelayed\b|\bwarning\b|will (?:keep|be retried|continue|be attempted)|still (?:trying|being tried|undelivered)|"
    r"no action is required|do(?:es)? not need to (?:re-?send|be resent)|no need to re-?send|"
    r"not yet been (?:delivered|sent)|temporar(?:y|ily) (?:failure|undeliver)|verzöger|wird weiter(?:hin)? versucht|"
    r"retard(?:é|ée)?\b|sera réessay|aún no (?:se )?ha|retrasad|in ritardo|ritardat|atrasad|vertraagd|försenad|"
    r"opóźnion|задерж|延迟|遅延|遅れて",
    re.IGNORECASE,
)

GIVEN_UP = re.compile(
    r"giv(?:ing|en) up|permanent (?:error|failure)|[^-]fatal error|will be deleted from|retry (?:time|timeout) "
    r"(?:not reached for any host after|exceeded)|too (?:old|long)|expired|has been (?:returned|removed)|"
    r"will not be (?:retried|attempted)|no longer be tried",
    re.IGNORECASE,
)
"""Says that a delay, if one was told of, is over."""

UNDELIVERED = re.compile(
    r"(?:could|can)(?: ?not|n't) be (?:delivered|sent|reached)|(?:was|were|is) (?:not |un)deliver|undeliverable|"
    r"unable to (?:deliver|relay|send)|not able to deliver|failed to (?:deliver|reach)|"
    r"delivery .{0,40}(?:failed|aborted)|"
    r"(?:did|could) ?n[o']t reach|failed recipients?|following address(?:es)? (?:had|failed)|"
    r"returned to (?:you|sender)|"
    r"has(?:n't| not) (?:yet )?been delivered|still (?:trying|undelivered)|could not (?:deliver|send)|"
    r"nicht (?:zugestellt|ausgeliefert|zustell)|n'a pas pu être|impossible de (?:remettre|distribuer|délivrer)|"
    r"pas été (?:remis|distribu|délivr)|no (?:se )?(?:ha )?(?:podido|pudo|puede) .{0,20}entrega|no ha sido entregad|"
    r"non (?:è stato possibile|può essere) (?:consegna|recapita)|non consegnat|não (?:pôde|foi|pode) .{0,20}entreg|"
    r"niet (?:worden )?(?:be|af)geleverd|kunde inte levereras|kunne ikke leveres|nie (?:można|udało się) dostarczyć|"
    r"nelze doručit|не (?:может быть|было|удалось) достав|无法(?:投递|送达)|投递失败|"
    r"配信できません|届けることができません",
    re.IGNORECASE,
)

_CODES = (
    (
        "5.2.2",
        r"postfach .{0,40}(?:voll|überschritten)|speicherplatz .{0,30}(?:erschöpft|überschritten)|"
        r"bo[iî]te .{0,40}pleine|quota .{0,20}(?:dépassé|atteint)|buz[oó]n .{0,40}llen[oa]|"
        r"cuota .{0,20}excedid|casella .{0,40}piena|caixa .{0,40}(?:cheia|lotada)|"
        r"(?:brievenbus|postvak|mailbox) .{0,20}(?:is )?vol\b|inkorg.{0,20}full|skrzynka .{0,30}pełna|"
        r"przepełnion|ящик .{0,30}переполнен|schránka .{0,20}plná|邮箱.{0,8}满|"
        r"メールボックス.{0,16}(?:いっぱい|超過|容量)|"
        r"out of disk space|mailbox .{0,40}limit exceeded|disk ?quota|exceed.{0,20}quota",
    ),
    (
        "5.1.1",
        r"(?:benutzer|empfänger|adresse|adressat|konto|postfach) .{0,40}(?:unbekannt|existiert nicht|nicht gefunden|"
        r"nicht vorhanden|nicht bekannt)|(?:unbekannter|ungültiger) (?:benutzer|empfänger)|"
        r"(?:utilisateur|destinataire|adresse|boîte) .{0,40}(?:inconnu|n'existe (?:pas|plus)|introuvable|invalide)|"
        r"(?:usuario|destinatario|direcci[oó]n|cuenta|buz[oó]n) .{0,40}"
        r"(?:desconocid|no existe|inexistente|no encontrad)|"
        r"(?:utente|destinatario|indirizzo|casella) .{0,40}(?:sconosciut|inesistente|non esiste|non trovat)|"
        r"(?:usuário|destinatário|endereço|conta) .{0,40}(?:desconhecid|não existe|inexistente|não encontrad)|"
        r"(?:gebruiker|ontvanger|adres) .{0,30}(?:onbekend|bestaat niet)|"
        r"(?:mottagare|användare|adress).{0,30}(?:okänd|finns inte)|(?:użytkownik|adresat|odbiorca).{0,30}nie istnieje|"
        r"nieznany (?:użytkownik|adresat)|(?:uživatel|adresát).{0,20}(?:neexistuje|neznám)|"
        r"(?:пользовател|получател|адрес|ящик).{0,30}(?:не существует|не найден|неизвест)|"
        r"(?:用户|收件人|邮箱|帐号|账号).{0,12}不存在|(?:宛先|ユーザー?|アドレス).{0,16}(?:存在しません|見つかりません|不明)|"
        r"not listed in .{0,60}(?:directory|address book)|no such (?:user|recipient|addressee|mailbox)|"
        r"user .{0,80}not listed|unrecogni[sz]ed (?:recipient|o/r name|address)|user name .{0,40}not found|"
        r"no (?:such )?local user|this (?:user|account) (?:has moved|no longer)|bad destination mailbox",
    ),
    (
        "5.4.4",
        r"(?:rechner|host|server|domain|domaine|dominio|domínio) .{0,40}(?:unbekannt|nicht gefunden|inconnu|"
        r"introuvable|desconocid|no encontrad|sconosciut|desconhecid)|unknown (?:host|mail host)|host unknown|"
        r"no such (?:host|domain)",
    ),
)
_CODE_WORDS = tuple((code, re.compile(pattern, re.IGNORECASE)) for code, pattern in _CODES)

_QUOTED = re.compile(
    r"\n[ \t>*]{0,8}(?:-{2,}|={2,}|\*{2,})? ?(?:this is a copy|here is (?:a copy|your|the)|"
    r"below (?:this|the next) line|"
    r"(?:the )?(?:original|returned|unsent|undelivered) (?:message|mail)"
    r"(?: (?:follows|header|text|begins|is))?(?! was| to\b| from\b)|"
    r"(?:message|your message|mail) (?:text |header |headers )?(?:follows|begins|reads)|start of returned message|"
    r"included is a copy|a copy of (?:the|your)|the first \d+ lines|returned mail follows|old message|"
    r"(?:ursprüngliche|originale?) (?:nachricht|mail)|message d'origine|mensaje original|messaggio originale|"
    r"mensagem original|oorspronkelijk bericht|исходное сообщение|原邮件|元のメッセージ)",
    re.IGNORECASE,
)
"""Below such a line servers quote our own message, whose words prove nothing."""

_TAG = re.compile(r"<(?:/?[A-Za-z][^<>]{0,1000}|!--[^<>]{0,1000}--)>")
_HIDDEN = re.compile(r"<(style|script)\b[^<]{0,20000}</\1>", re.IGNORECASE)
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&#64;", "@"), ("&quot;", '"'), ("&amp;", "&"))


def own_words(leaves: list[Part]) -> str:
    """What the writer of a report says in its first text part, without the message that it quotes; LF line ends."""
    leaf = next((one for one in leaves if one.kind in ("text/plain", "text/html")), None)
    if leaf is None:
        return ""
    text = leaf.text()[:TEXT_MAX]
    if leaf.kind == "text/html":
        text = _TAG.sub(" ", _HIDDEN.sub(" ", text))
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    return _QUOTED.split("\n" + text, maxsplit=1)[0][1:]


def code(text: str) -> str:
    """The RFC 3463 code that words of several languages stand for, '' for none."""
    text = " ".join(text[:8192].split())
    return next((status for status, pattern in _CODE_WORDS if pattern.search(text)), "")


def subject(top: Part) -> str:
    """The decoded subject, cut at the longest line there may be."""
    return mime.decoded_words(mime.first(top.fields, "subject")[:998])
