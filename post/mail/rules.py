"""
A person's rules: what becomes of a message, by what its notification says of it (POST, section 4.3).  Pure.

They are looked at before anything of the message is fetched.  A rule is one line::

    ACTION [if CONDITION [and CONDITION]...]

    accept                  file it in the Inbox
    folder NAME             file it in that folder, which is made if there is none
    quarantine              file it in Junk
    ignore                  take note of it, and nothing more: it is not fetched, and nothing goes back

    sender PATTERN          who it says sent it, or who did (L{post.mail.patterns})
    verified PATTERN        who did, by the signature that the node has verified
    to PATTERN              the address to which it was sent, such as alice+shop@example.org or a mailing list's
    tag NAME                the part of that address between + and @
    subject TEXT            the subject has TEXT in it, whatever the case of its letters
    size > N, size < N      in octets, or with K, M or G (of 1000)

C{not} before a condition turns it round.  A name or text with a space in it, or one that is C{and}, stands in double
quotes, inside which C{\\} makes the next character an ordinary one.  The first rule that matches decides; a message
that none matches is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from post.crypto.names import tag_of
from post.mail.patterns import matches, pattern

RULE_LIMIT = 1000
"""Characters of one rule: some twenty conditions."""
RULES_LIMIT = 200
"""Rules of one person: each is tried on every message that comes."""
CONDITIONS_LIMIT = 20
SIZE_LIMIT = 1 << 40
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}


class BadRule(ValueError):
    """
    A line that is no rule: says why, for whoever wrote it.
    """


class Action(StrEnum):
    """
    What may become of a message.
    """

    ACCEPT = "accept"
    FOLDER = "folder"
    QUARANTINE = "quarantine"
    IGNORE = "ignore"


@dataclass(frozen=True)
class Described:
    """
    What is known of a message before it is fetched.  C{sender} is the envelope's, C{verified} whose account signed,
    C{recipient} as it was addressed; C{size} in octets.
    """

    sender: str
    verified: str
    recipient: str
    subject: str
    size: int


@dataclass(frozen=True)
class Condition:
    """
    C{what} of the message is like C{value}; C{size>} and C{size<} are two kinds.
    """

    what: str
    value: str
    negated: bool = False

    def holds(self, message: Described) -> bool:
        """
        Whether it does.
        """
        return self._holds(message) != self.negated

    def _holds(self, message: Described) -> bool:
        match self.what:
            case "sender":
                return matches(self.value, message.sender) or matches(self.value, message.verified)
            case "verified":
                return matches(self.value, message.verified)
            case "to":
                return matches(self.value, message.recipient)
            case "tag":
                return tag_of(message.recipient) == self.value
            case "subject":
                return self.value.casefold() in message.subject.casefold()
            case "size>":
                return message.size > int(self.value)
            case _:
                return message.size < int(self.value)


@dataclass(frozen=True)
class Rule:
    """
    All C{conditions} have to hold.
    """

    action: Action
    folder: str = ""
    conditions: tuple[Condition, ...] = ()

    def matches(self, message: Described) -> bool:
        """
        Whether it is for C{message}.
        """
        return all(condition.holds(message) for condition in self.conditions)


@dataclass(frozen=True)
class Verdict:
    """
    What becomes of a message, and C{reason}: the rule, in words, or what else it was that decided.
    """

    action: Action
    reason: str
    folder: str = ""


def judge(rules: Iterable[Rule], message: Described) -> Verdict | None:
    """
    What the first rule that matches says; C{None} if none does.
    """
    for rule in rules:
        if rule.matches(message):
            return Verdict(rule.action, f"rule: {render(rule)}", rule.folder)
    return None


@dataclass(frozen=True)
class _Word:
    text: str
    quoted: bool = False

    def __str__(self) -> str:
        return self.text

    def is_word(self, text: str) -> bool:
        return not self.quoted and self.text.casefold() == text


def parse(line: str) -> Rule:
    """
    The rule in C{line}.

    @raise BadRule: if it is none.
    """
    if len(line) > RULE_LIMIT:
        raise BadRule(f"a rule has at most {RULE_LIMIT} characters")
    words = list(_words(line))
    if not words:
        raise BadRule("a rule begins with accept, folder NAME, quarantine or ignore")
    try:
        action = Action(words[0].text.casefold() if not words[0].quoted else "")
    except ValueError:
        raise BadRule(f"a rule begins with accept, folder NAME, quarantine or ignore, not {words[0].text!r}") from None
    at, folder = 1, ""
    if action == Action.FOLDER:
        if len(words) < 2 or not words[1].text:
            raise BadRule("after folder comes the folder's name")
        at, folder = 2, words[1].text
    if at == len(words):
        return Rule(action, folder)
    if not words[at].is_word("if") or at + 1 == len(words):
        raise BadRule(f"after the action comes if and a condition, or nothing; not {words[at].text!r}")
    return Rule(action, folder, _conditions(words[at + 1 :]))


def _conditions(words: Sequence[_Word]) -> tuple[Condition, ...]:
    found: list[Condition] = []
    start = 0
    for at in range(len(words) + 1):
        if at == len(words) or words[at].is_word("and"):
            found.append(_condition(words[start:at]))
            start = at + 1
    if len(found) > CONDITIONS_LIMIT:
        raise BadRule(f"a rule has at most {CONDITIONS_LIMIT} conditions")
    return tuple(found)


def _condition(words: Sequence[_Word]) -> Condition:
    negated = bool(words) and words[0].is_word("not")
    words = words[1:] if negated else words
    what = words[0].text.casefold() if words and not words[0].quoted else ""
    values = [word.text for word in words[1:]]
    match what, len(values):
        case (("sender" | "verified" | "to"), 1):
            try:
                return Condition(what, pattern(values[0]), negated)
            except ValueError as error:
                raise BadRule(str(error)) from None
        case "tag", 1:
            # What an address with that tag would be found to have.
            return Condition(what, tag_of(f"x+{values[0]}@x"), negated)
        case "subject", 1:
            if not values[0]:
                raise BadRule("an empty text is in every subject")
            return Condition(what, values[0], negated)
        case "size", 2 if values[0] in ("<", ">"):
            return Condition(what + values[0], str(_size(values[1])), negated)
    raise BadRule(
        "a condition is sender PATTERN, verified PATTERN, to PATTERN, tag NAME, subject TEXT, size > N or size < N"
        f" (put what has spaces in double quotes), not {' '.join(word.text for word in words)!r}"
    )


def _size(text: str) -> int:
    unit = text[-1:].casefold() if text[-1:].isalpha() else ""
    digits = text[: len(text) - len(unit)]
    if unit not in _UNITS or not (digits.isascii() and digits.isdigit()) or len(digits) > 15:
        raise BadRule(f"a size is a number of octets, or one with K, M or G behind it; not {text!r}")
    size = int(digits) * _UNITS[unit]
    if size >= SIZE_LIMIT:
        raise BadRule(f"no message is as large as {text}")
    return size


def _words(line: str) -> Iterable[_Word]:
    position = 0
    while position < len(line):
        character = line[position]
        if character == " ":
            position += 1
        elif not character.isprintable():
            raise BadRule("a rule is one line without control characters")
        elif character == '"':
            text, position = _quoted(line, position + 1)
            yield _Word(text, True)
        elif character in "<>":
            yield _Word(character)
            position += 1
        else:
            start = position
            while position < len(line) and line[position] not in ' "<>' and line[position].isprintable():
                position += 1
            yield _Word(line[start:position])


def _quoted(line: str, position: int) -> tuple[str, int]:
    text: list[str] = []
    while position < len(line):
        character = line[position]
        if not character.isprintable():
            raise BadRule("a rule is one line without control characters")
        if character == '"':
            return "".join(text), position + 1
        if character == "\\":
            position += 1
            if position == len(line):
                break
            character = line[position]
            if not character.isprintable():
                raise BadRule("a rule is one line without control characters")
        text.append(character)
        position += 1
    raise BadRule('a double quote (") that is never closed')


def render(rule: Rule) -> str:
    """
    The line for C{rule}; L{parse} reads it back.
    """
    action = f"folder {_spell(rule.folder)}" if rule.action == Action.FOLDER else rule.action.value
    if not rule.conditions:
        return action
    return f"{action} if {' and '.join(_render(condition) for condition in rule.conditions)}"


def _render(condition: Condition) -> str:
    negation = "not " if condition.negated else ""
    if condition.what.startswith("size"):
        return f"{negation}size {condition.what[-1]} {condition.value}"
    return f"{negation}{condition.what} {_spell(condition.value)}"


def _spell(text: str) -> str:
    plain = text and not set(text) & set(' "<>\\') and text.casefold() != "and"
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
