"""The few words of each language that questions are read by. Words are as `fold` gives them: small, no accents."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """What must be known of a language to read a question in it."""

    stop_words: frozenset[str]
    """Words that say nothing about the subject."""

    courtesies: frozenset[str]
    """Words that ask nothing; stop words too."""

    openings: tuple[str, ...]
    """How a question begins that goes on from the one before: "and", "what about"."""

    pronouns: frozenset[str]
    """Words that stand for something said before. None that are as often
    something else: an article ("das"), empty ("es gibt", "there is") or with a noun of their own ("this week")."""

    question_words: frozenset[str]
    """Words that a question of its own begins with."""

    number_questions: tuple[str, ...]
    """What asks for a number, a date or a time."""


def _language(stop: str, courtesies: str, openings: str, pronouns: str, questions: str, numbers: str) -> Language:
    def phrases(text: str) -> tuple[str, ...]:
        return tuple(" ".join(phrase.split()) for phrase in text.split(","))

    return Language(
        frozenset(stop.split()) | frozenset(courtesies.split()),
        frozenset(courtesies.split()),
        phrases(openings),
        frozenset(pronouns.split()),
        frozenset(questions.split()),
        phrases(numbers),
    )


LANGUAGES: dict[str, Language] = {
    "en": _language(
        stop="""a an the and or but if of in on at by for with from to into onto about as is are was were be been being
            am do does did doing have has had having i me my we us our you your he him his she her it its one ones
            they them their this that these those there here what which who whom whose when where why how can could
            will would shall should may might must not no nor so than then too very just also any some such only own
            same other each few many much more most all both tell explain describe called kind up down out off over
            under again further once s t d ll m re ve don please""",
        courtesies="yes no ok okay yeah nope thanks thank you hello hi sorry sure please bye great good",
        openings="and, but, or, also, then, what about, how about, what if, and if, same for",
        pronouns="it they them its their that those these he him his she her one ones",
        questions="""what which who whom whose when where why how can could will would shall should may is are was
            were do does did has have am""",
        numbers="""how many, how much, how long, how old, how far, how large, how big, how tall, how high, how often,
            how soon, how late, when, what year, which year, what date, which date, what day, which day, what month,
            what time, which time, what percentage, what price, what number, what century, what decade""",
    ),
    "de": _language(
        stop="""der die das den dem des ein eine einen einem einer eines und oder aber wenn ob als wie in im an am auf
            aus bei bis durch fur gegen mit nach ohne um unter uber von vom vor zu zum zur ist sind war waren bin
            bist sein hat habe haben hatte hatten wird werden wurde wurden kann konnen konnte muss mussen soll
            sollen darf durfen mag mochte mochten ich mich mir mein meine meinen wir uns unser unsere du dich dir
            dein deine er ihn ihm sie ihr ihre ihren es man sich dies diese dieser dieses diesem diesen jene welche
            welcher welches welchen was wer wen wem wann wo wohin woher warum wieso wieviel nicht kein keine keinen
            auch noch nur schon sehr mehr so da dort hier dann denn doch mal bitte gibt""",
        courtesies="ja nein ok okay danke bitte hallo klar genau gut tschuss",
        openings="""und, aber, oder, auch, wie ist es mit, wie sieht es mit, wie sieht es, was ist mit, wie steht es
            mit, und wenn""",
        pronouns="ihn ihm davon dafur damit dazu daran darin dort denen",
        questions="""was wer wen wem wessen wann wo wohin woher warum wieso weshalb wie wieviel welche welcher welches
            welchen kann konnen muss mussen darf durfen ist sind war waren hat haben wird werden gibt""",
        numbers="""wie viel, wie viele, wieviel, wieviele, wie lange, wie alt, wie weit, wie groß, wie hoch, wie oft,
            wann, um wie viel uhr, welches jahr, in welchem jahr, welches datum, seit wann, bis wann, ab wann""",
    ),
    "fr": _language(
        stop="""le la les l un une des du de d et ou mais si que qu qui quoi quel quelle quels quelles dont au aux en
            dans sur sous par pour avec sans chez vers entre est sont etait etaient etre suis es a ai as ont avait
            avoir fait faire peut peuvent puis pouvez dois doit je j me m moi mon ma mes nous notre nos vous votre
            vos tu te ton ta tes il ils elle elles on se s son sa ses leur leurs lui y ce c cet cette ces ca cela
            quand ou comment pourquoi combien ne n pas plus moins tres aussi encore deja la ici t""",
        courtesies="oui non ok merci bonjour bien",
        openings="et, mais, ou, aussi, qu en est il de, qu en est il, et si, et pour, et avec",
        pronouns="ca cela ceci celui celle ceux celles elle elles eux",
        questions="quand ou comment pourquoi combien quel quelle quels quelles qui que quoi qu est sont peut puis",
        numbers="""combien, quand, a quelle heure, quelle heure, quelle annee, en quelle annee, quelle date, quel prix,
            quel age, quel pourcentage""",
    ),
    "es": _language(
        stop="""el la los las un una unos unas lo y e o u pero si que de del al a en con sin por para sobre entre hasta
            desde hacia es son era eran ser fue fueron esta estan estar estaba hay ha han he haber tiene tienen
            tener puede pueden puedo yo me mi mis nos nuestro nuestra tu te ti su sus usted ustedes se le les este
            esta estos estas ese esa esos esas eso esto aquel que quien quienes cual cuales cuando donde como porque
            cuanto cuanta cuantos cuantas no ni tambien mas menos muy ya aqui alli""",
        courtesies="si no ok gracias hola bien vale",
        openings="y, pero, o, tambien, que tal, y si, y para, que hay de, que pasa con",
        pronouns="eso esto ello ellos ellas lo alli",
        questions="""que quien quienes cual cuales cuando donde adonde como cuanto cuanta cuantos cuantas puedo puede
            hay es""",
        numbers="""cuanto, cuanta, cuantos, cuantas, cuando, a que hora, que hora, que ano, en que ano, que fecha,
            que precio, que edad, que porcentaje""",
    ),
    "it": _language(
        stop="""il lo la i gli le l un uno una e ed o ma se che di del dello della dei degli delle d a al allo alla ai
            agli alle in nel nello nella nei nelle con su sul sulla per tra fra da dal dalla dai e sono era erano
            essere c ha hanno ho avere puo possono posso io mi mio mia miei noi ci nostro tu ti tuo voi vi vostro
            lui lei loro si suo sua questo questa questi queste quello quella quelli chi cosa quale quali quando
            dove come perche quanto quanta quanti quante non ne anche piu meno molto gia qui""",
        courtesies="si no ok grazie ciao certo bene",
        openings="e, ed, ma, o, anche, e se, e per, che ne dici di, e invece",
        pronouns="quello quella quelli quelle ne",
        questions="che chi cosa quale quali qual quando dove come perche quanto quanta quanti quante posso puo c e",
        numbers="""quanto, quanta, quanti, quante, quando, a che ora, che ora, che anno, in che anno, quale anno,
            che data, che prezzo, che eta, quale percentuale""",
    ),
    "pt": _language(
        stop="""o a os as um uma uns umas e ou mas se que de do da dos das ao aos em no na nos nas num numa com sem por
            pelo pela para sobre entre ate desde e sao era eram ser foi foram esta estao estar ha tem ter pode podem
            posso eu me meu minha nos nosso nossa voce voces te seu sua seus suas ele ela eles elas lhe este esta
            estes esse essa esses isso isto aquele quem qual quais quando onde como porque quanto quanta quantos
            quantas nao tambem mais menos muito ja aqui ali""",
        courtesies="sim nao ok obrigado obrigada ola bem",
        openings="e, mas, ou, tambem, e se, e para, e quanto a, e sobre",
        pronouns="isso isto ele ela eles elas ali",
        questions="que quem qual quais quando onde como quanto quanta quantos quantas posso pode ha e o",
        numbers="""quanto, quanta, quantos, quantas, quando, a que horas, que horas, que ano, em que ano, que data,
            que preco, que idade, que percentagem, que porcentagem""",
    ),
    "nl": _language(
        stop="""de het een en of maar als dan van in op aan bij met zonder voor door over onder naar uit tot om te is
            zijn was waren ben bent word wordt worden heb heeft hebben had kan kunnen kun mag mogen moet moeten zal
            zullen ik me mij mijn we wij ons onze je jij jouw u uw hij hem zij ze haar hun het dit dat deze die wat
            wie welke welk wanneer waar waarom hoe hoeveel niet geen ook nog maar wel al er hier daar zo meer graag""",
        courtesies="ja nee ok bedankt dank hallo goed u je",
        openings="en, maar, of, ook, hoe zit het met, en als, en hoe zit het met, wat als",
        pronouns="dat daar daarvan daarvoor daarmee ervan hem hen",
        questions="wat wie welke welk wanneer waar waarom hoe hoeveel kan kunnen kun mag moet is zijn heeft hebben",
        numbers="""hoeveel, hoe lang, hoe oud, hoe ver, hoe groot, hoe hoog, hoe vaak, hoe laat, wanneer, welk jaar,
            in welk jaar, welke datum, welke prijs, vanaf wanneer""",
    ),
}


def guess_language(words: Sequence[str]) -> Language:
    """Return the language that most of the words are stop words of, English where none is ahead of it."""
    votes = Counter({code: sum(word in language.stop_words for word in words) for code, language in LANGUAGES.items()})
    best = max(votes.values(), default=0)
    return LANGUAGES["en" if votes["en"] == best else votes.most_common(1)[0][0]]
