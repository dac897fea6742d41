"""What the unsubscribe page says, in each of its languages."""

from __future__ import annotations

from typing import NamedTuple

DEFAULT = "en"


class Texts(NamedTuple):
    """`{address}` is who unsubscribes, `{sender}` whose mail it is, `{list}` the list that the message went to."""

    ask_title: str
    ask: str
    ask_with_list: str  # there is a choice between the list and everything
    unsubscribe: str
    list_only: str
    everything: str
    this_sender: str  # where the sender's domain is not known
    ended_title: str
    ended: str
    on_its_way: str
    again: str
    off_list_title: str
    off_list: str
    list_again: str
    still_title: str
    still: str
    back_title: str
    back: str
    later_title: str
    later: str
    retry: str
    broken_title: str
    broken: str


TEXTS: dict[str, Texts] = {
    "en": Texts(
        "Unsubscribe?",
        "Mail from {sender} to {address} will stop.",
        "Which mail to {address} should stop?",
        "Unsubscribe",
        "This list only: {list}",
        "All mail from {sender}",
        "this sender",
        "You are unsubscribed",
        "{address} gets no more mail from {sender}.",
        "A message that was on its way already may still arrive. Was it a mistake?",
        "Get mail again",
        "You are off this list",
        "{address} gets no more mail of the list {list}. Other mail from {sender} goes on.",
        "Get mail of this list again",
        "You are still unsubscribed",
        "This was not done with this link alone: please ask the sender to write to you again.",
        "You get mail again",
        "{address} gets mail from {sender} again.",
        "Please try again in a minute",
        "You are not unsubscribed yet: this service cannot store it at the moment.",
        "Try again",
        "This link does not work",
        "It is not complete, or it was changed on its way to you. Open the message again and follow the link there.",
    ),
    "de": Texts(
        "Abmelden?",
        "{address} erhält dann keine E-Mails von {sender} mehr.",
        "Welche E-Mails soll {address} nicht mehr erhalten?",
        "Abmelden",
        "Nur diese Liste: {list}",
        "Alle E-Mails von {sender}",
        "diesem Absender",
        "Sie sind abgemeldet",
        "{address} erhält keine E-Mails von {sender} mehr.",
        "Eine Nachricht, die schon unterwegs war, kann noch ankommen. War es ein Versehen?",
        "Wieder E-Mails erhalten",
        "Sie sind von dieser Liste abgemeldet",
        "{address} erhält keine E-Mails der Liste {list} mehr. Andere E-Mails von {sender} kommen weiterhin.",
        "Wieder E-Mails dieser Liste erhalten",
        "Sie sind weiterhin abgemeldet",
        "Die Abmeldung kam nicht nur von diesem Link: Bitten Sie den Absender, Ihnen wieder zu schreiben.",
        "Sie erhalten wieder E-Mails",
        "{address} erhält wieder E-Mails von {sender}.",
        "Bitte versuchen Sie es in einer Minute noch einmal",
        "Sie sind noch nicht abgemeldet: Dieser Dienst kann es im Augenblick nicht speichern.",
        "Noch einmal versuchen",
        "Dieser Link funktioniert nicht",
        "Er ist unvollständig oder wurde unterwegs verändert. Öffnen Sie die Nachricht und folgen Sie dem Link dort.",
    ),
    "fr": Texts(
        "Se désabonner ?",
        "{address} ne recevra plus de messages de {sender}.",
        "Quels messages {address} ne doit-elle plus recevoir ?",
        "Se désabonner",
        "Cette liste seulement : {list}",
        "Tous les messages de {sender}",
        "cet expéditeur",
        "Vous êtes désabonné",
        "{address} ne reçoit plus de messages de {sender}.",
        "Un message déjà parti peut encore arriver. Était-ce une erreur ?",
        "Recevoir de nouveau les messages",
        "Vous ne figurez plus sur cette liste",
        "{address} ne reçoit plus les messages de la liste {list}. Les autres messages de {sender} continuent.",
        "Recevoir de nouveau les messages de cette liste",
        "Vous êtes toujours désabonné",
        "Ce lien n'en est pas la seule cause : demandez à l'expéditeur de vous écrire de nouveau.",
        "Vous recevez de nouveau les messages",
        "{address} reçoit de nouveau les messages de {sender}.",
        "Veuillez réessayer dans une minute",
        "Vous n'êtes pas encore désabonné : ce service ne peut pas l'enregistrer pour le moment.",
        "Réessayer",
        "Ce lien ne fonctionne pas",
        "Il est incomplet ou a été modifié en chemin. Ouvrez de nouveau le message et suivez le lien qui s'y trouve.",
    ),
    "es": Texts(
        "¿Cancelar la suscripción?",
        "{address} dejará de recibir correo de {sender}.",
        "¿Qué correo debe dejar de recibir {address}?",
        "Cancelar la suscripción",
        "Solo esta lista: {list}",
        "Todo el correo de {sender}",
        "este remitente",
        "Su suscripción está cancelada",
        "{address} ya no recibe correo de {sender}.",
        "Un mensaje que ya estaba en camino aún puede llegar. ¿Ha sido un error?",
        "Volver a recibir correo",
        "Ya no está en esta lista",
        "{address} ya no recibe correo de la lista {list}. El resto del correo de {sender} continúa.",
        "Volver a recibir el correo de esta lista",
        "Su suscripción sigue cancelada",
        "No se debe solo a este enlace: pida al remitente que vuelva a escribirle.",
        "Vuelve a recibir correo",
        "{address} vuelve a recibir correo de {sender}.",
        "Inténtelo de nuevo dentro de un minuto",
        "Su suscripción todavía no está cancelada: el servicio no puede guardarlo en este momento.",
        "Intentar de nuevo",
        "Este enlace no funciona",
        "Está incompleto o cambió por el camino. Abra de nuevo el mensaje y siga el enlace que contiene.",
    ),
    "it": Texts(
        "Annullare l'iscrizione?",
        "{address} non riceverà più messaggi da {sender}.",
        "Quali messaggi non deve più ricevere {address}?",
        "Annulla l'iscrizione",
        "Solo questa lista: {list}",
        "Tutti i messaggi da {sender}",
        "questo mittente",
        "L'iscrizione è annullata",
        "{address} non riceve più messaggi da {sender}.",
        "Un messaggio già in viaggio può ancora arrivare. È stato un errore?",
        "Ricevi di nuovo i messaggi",
        "Non è più in questa lista",
        "{address} non riceve più i messaggi della lista {list}. Gli altri messaggi da {sender} continuano.",
        "Ricevi di nuovo i messaggi di questa lista",
        "L'iscrizione è ancora annullata",
        "Non dipende solo da questo link: chieda al mittente di scriverle di nuovo.",
        "Riceve di nuovo i messaggi",
        "{address} riceve di nuovo i messaggi da {sender}.",
        "Riprovi tra un minuto",
        "L'iscrizione non è ancora annullata: al momento il servizio non può registrarlo.",
        "Riprova",
        "Questo link non funziona",
        "È incompleto o è stato modificato durante il percorso. Riapra il messaggio e segua il link che contiene.",
    ),
    "pt": Texts(
        "Cancelar a subscrição?",
        "{address} deixará de receber mensagens de {sender}.",
        "Que mensagens deve {address} deixar de receber?",
        "Cancelar a subscrição",
        "Apenas esta lista: {list}",
        "Todas as mensagens de {sender}",
        "este remetente",
        "A subscrição está cancelada",
        "{address} já não recebe mensagens de {sender}.",
        "Uma mensagem que já estava a caminho ainda pode chegar. Foi um engano?",
        "Voltar a receber mensagens",
        "Já não está nesta lista",
        "{address} já não recebe mensagens da lista {list}. As outras mensagens de {sender} continuam.",
        "Voltar a receber as mensagens desta lista",
        "A subscrição continua cancelada",
        "Não se deve apenas a este link: peça ao remetente que volte a escrever-lhe.",
        "Volta a receber mensagens",
        "{address} volta a receber mensagens de {sender}.",
        "Tente de novo dentro de um minuto",
        "A subscrição ainda não está cancelada: de momento o serviço não consegue guardá-lo.",
        "Tentar de novo",
        "Este link não funciona",
        "Está incompleto ou foi alterado pelo caminho. Abra de novo a mensagem e siga o link que lá está.",
    ),
    "nl": Texts(
        "Afmelden?",
        "{address} krijgt dan geen e-mail meer van {sender}.",
        "Welke e-mail wil {address} niet meer krijgen?",
        "Afmelden",
        "Alleen deze lijst: {list}",
        "Alle e-mail van {sender}",
        "deze afzender",
        "U bent afgemeld",
        "{address} krijgt geen e-mail meer van {sender}.",
        "Een bericht dat al onderweg was, kan nog aankomen. Was het een vergissing?",
        "Weer e-mail krijgen",
        "U staat niet meer op deze lijst",
        "{address} krijgt geen e-mail meer van de lijst {list}. Andere e-mail van {sender} gaat door.",
        "Weer e-mail van deze lijst krijgen",
        "U bent nog steeds afgemeld",
        "Dat komt niet alleen door deze link: vraag de afzender u weer te schrijven.",
        "U krijgt weer e-mail",
        "{address} krijgt weer e-mail van {sender}.",
        "Probeer het over een minuut opnieuw",
        "U bent nog niet afgemeld: deze dienst kan het op dit moment niet opslaan.",
        "Opnieuw proberen",
        "Deze link werkt niet",
        "Hij is onvolledig of onderweg veranderd. Open het bericht opnieuw en volg de link die daarin staat.",
    ),
    "tr": Texts(
        "Abonelikten çıkılsın mı?",
        "{address} adresine {sender} tarafından artık e-posta gelmeyecek.",
        "{address} adresine hangi e-postalar artık gelmesin?",
        "Abonelikten çık",
        "Yalnızca bu liste: {list}",
        "{sender} tarafından gönderilen tüm e-postalar",
        "bu gönderen",
        "Abonelikten çıktınız",
        "{address} adresine {sender} tarafından artık e-posta gelmiyor.",
        "Yola çıkmış bir ileti yine de ulaşabilir. Yanlışlıkla mı oldu?",
        "Yeniden e-posta al",
        "Bu listeden çıktınız",
        "{address} adresine {list} listesinden artık e-posta gelmiyor. {sender} e-postaları sürüyor.",
        "Bu listeden yeniden e-posta al",
        "Hâlâ abonelik dışındasınız",
        "Bunun nedeni yalnızca bu bağlantı değil: gönderenden size yeniden yazmasını isteyin.",
        "Yeniden e-posta alıyorsunuz",
        "{address} adresine {sender} tarafından yeniden e-posta geliyor.",
        "Lütfen bir dakika sonra yeniden deneyin",
        "Henüz abonelikten çıkmadınız: hizmet bunu şu anda kaydedemiyor.",
        "Yeniden dene",
        "Bu bağlantı çalışmıyor",
        "Eksik ya da yolda değişmiş. İletiyi yeniden açın ve oradaki bağlantıyı izleyin.",
    ),
}
"""By primary language tag (RFC 5646)."""
