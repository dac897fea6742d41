"""What the page of a double opt-in says, in each of its languages."""

from __future__ import annotations

from typing import NamedTuple


class Texts(NamedTuple):
    """`{address}` is who is asked, `{list}` what they would get."""

    ask_title: str
    ask: str
    confirm: str
    done_title: str
    done: str
    over_title: str
    over: str
    gone_title: str
    gone: str
    later_title: str
    later: str
    retry: str
    broken_title: str
    broken: str


TEXTS: dict[str, Texts] = {
    "en": Texts(
        "Confirm your subscription?",
        "{list} will be sent to {address}.",
        "Yes, I want to get it",
        "Your subscription is confirmed",
        "{list} will be sent to {address} from now on.",
        "This link is too old",
        "Please subscribe to {list} again: you get a new link then.",
        "There is nothing to confirm",
        "This address is not on the list any more.",
        "Please try again in a minute",
        "It is not confirmed yet: this service cannot store it at the moment.",
        "Try again",
        "This link does not work",
        "It is not complete, or it was changed on its way to you. Open the message again and follow the link there.",
    ),
    "de": Texts(
        "Anmeldung bestätigen?",
        "{list} wird dann an {address} gesendet.",
        "Ja, ich möchte das erhalten",
        "Ihre Anmeldung ist bestätigt",
        "{list} wird von jetzt an an {address} gesendet.",
        "Dieser Link ist zu alt",
        "Bitte melden Sie sich noch einmal für {list} an: Sie erhalten dann einen neuen Link.",
        "Es gibt nichts zu bestätigen",
        "Diese Adresse steht nicht mehr auf der Liste.",
        "Bitte versuchen Sie es in einer Minute noch einmal",
        "Es ist noch nicht bestätigt: Der Dienst kann es im Moment nicht speichern.",
        "Noch einmal versuchen",
        "Dieser Link funktioniert nicht",
        "Er ist unvollständig oder wurde unterwegs verändert. Öffnen Sie die Nachricht und folgen Sie dem Link darin.",
    ),
    "fr": Texts(
        "Confirmer votre inscription ?",
        "{list} sera envoyé à {address}.",
        "Oui, je veux le recevoir",
        "Votre inscription est confirmée",
        "{list} sera désormais envoyé à {address}.",
        "Ce lien est trop ancien",
        "Inscrivez-vous de nouveau à {list} : vous recevrez un nouveau lien.",
        "Il n’y a rien à confirmer",
        "Cette adresse n’est plus sur la liste.",
        "Réessayez dans une minute",
        "Ce n’est pas encore confirmé : le service ne peut pas l’enregistrer pour le moment.",
        "Réessayer",
        "Ce lien ne fonctionne pas",
        "Il est incomplet ou a été modifié en chemin. Ouvrez de nouveau le message et suivez son lien.",
    ),
    "es": Texts(
        "¿Confirmar la suscripción?",
        "{list} se enviará a {address}.",
        "Sí, quiero recibirlo",
        "Su suscripción está confirmada",
        "A partir de ahora {list} se enviará a {address}.",
        "Este enlace es demasiado antiguo",
        "Suscríbase de nuevo a {list}: recibirá un enlace nuevo.",
        "No hay nada que confirmar",
        "Esta dirección ya no está en la lista.",
        "Inténtelo de nuevo en un minuto",
        "Todavía no está confirmado: el servicio no puede guardarlo en este momento.",
        "Intentar de nuevo",
        "Este enlace no funciona",
        "Está incompleto o se modificó por el camino. Abra de nuevo el mensaje y siga el enlace.",
    ),
    "it": Texts(
        "Confermare l’iscrizione?",
        "{list} sarà inviato a {address}.",
        "Sì, voglio riceverlo",
        "La tua iscrizione è confermata",
        "D’ora in poi {list} sarà inviato a {address}.",
        "Questo link è troppo vecchio",
        "Iscriviti di nuovo a {list}: riceverai un nuovo link.",
        "Non c’è nulla da confermare",
        "Questo indirizzo non è più nella lista.",
        "Riprova tra un minuto",
        "Non è ancora confermato: al momento il servizio non può salvarlo.",
        "Riprova",
        "Questo link non funziona",
        "È incompleto o è stato modificato durante il percorso. Riapri il messaggio e segui il link.",
    ),
    "pt": Texts(
        "Confirmar a subscrição?",
        "{list} será enviado para {address}.",
        "Sim, quero receber",
        "A sua subscrição está confirmada",
        "A partir de agora {list} será enviado para {address}.",
        "Este link é demasiado antigo",
        "Subscreva novamente {list}: receberá um novo link.",
        "Não há nada a confirmar",
        "Este endereço já não está na lista.",
        "Tente novamente dentro de um minuto",
        "Ainda não está confirmado: o serviço não o consegue guardar neste momento.",
        "Tentar novamente",
        "Este link não funciona",
        "Está incompleto ou foi alterado pelo caminho. Abra novamente a mensagem e siga o link.",
    ),
    "nl": Texts(
        "Aanmelding bevestigen?",
        "{list} wordt dan naar {address} gestuurd.",
        "Ja, ik wil dit ontvangen",
        "Uw aanmelding is bevestigd",
        "{list} wordt vanaf nu naar {address} gestuurd.",
        "Deze link is te oud",
        "Meld u opnieuw aan voor {list}: u krijgt dan een nieuwe link.",
        "Er is niets te bevestigen",
        "Dit adres staat niet meer op de lijst.",
        "Probeer het over een minuut opnieuw",
        "Het is nog niet bevestigd: de dienst kan het op dit moment niet opslaan.",
        "Opnieuw proberen",
        "Deze link werkt niet",
        "Hij is niet volledig of is onderweg veranderd. Open het bericht opnieuw en volg de link daarin.",
    ),
    "tr": Texts(
        "Aboneliğiniz onaylansın mı?",
        "{list}, {address} adresine gönderilecek.",
        "Evet, almak istiyorum",
        "Aboneliğiniz onaylandı",
        "{list} bundan sonra {address} adresine gönderilecek.",
        "Bu bağlantı çok eski",
        "Lütfen {list} için yeniden abone olun: yeni bir bağlantı alırsınız.",
        "Onaylanacak bir şey yok",
        "Bu adres artık listede değil.",
        "Lütfen bir dakika sonra yeniden deneyin",
        "Henüz onaylanmadı: hizmet şu anda bunu kaydedemiyor.",
        "Yeniden dene",
        "Bu bağlantı çalışmıyor",
        "Eksik ya da yolda değiştirilmiş. İletiyi yeniden açın ve oradaki bağlantıyı izleyin.",
    ),
}
