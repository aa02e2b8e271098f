"""
Tests for L{post.mail.rules} and L{post.mail.patterns}.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.mail.patterns import first_match, matches, pattern
from post.mail.rules import (
    CONDITIONS_LIMIT,
    RULE_LIMIT,
    Action,
    BadRule,
    Condition,
    Described,
    Rule,
    judge,
    parse,
    render,
)

MESSAGE = Described("Alice+x@Example.org", "alice@example.org", "bob+shop@example.org", "Re: Quarterly REPORT", 20_000)

ADDRESSES = st.sampled_from(
    ["alice@example.org", "alice+shop@example.org", "example.org", "*@example.org", "*@*.example.org", "*", "Ä@b.de"]
)
TEXTS = st.text(st.characters(categories=("L", "N", "P", "S"), include_characters=" "), min_size=1, max_size=20)
CONDITIONS = st.one_of(
    st.tuples(st.sampled_from(["sender", "verified", "to"]), ADDRESSES.map(pattern)),
    st.tuples(st.just("tag"), st.sampled_from(["", "shop", "a b", "and", 'qu"ote'])),
    st.tuples(st.just("subject"), TEXTS),
    st.tuples(st.sampled_from(["size>", "size<"]), st.integers(0, 10**11).map(str)),
)
RULES = st.builds(
    lambda action, folder, conditions: Rule(action, folder if action == Action.FOLDER else "", tuple(conditions)),
    st.sampled_from(Action),
    TEXTS,
    st.lists(
        st.builds(lambda pair, negated: Condition(pair[0], pair[1], negated), CONDITIONS, st.booleans()), max_size=4
    ),
)


class PatternTests(SynchronousTestCase):
    """
    Tests of patterns of addresses.
    """

    def test_matches(self) -> None:
        """
        A person however they are spelled, one sub-address, a domain, the domains below it, or anybody.
        """
        for wanted, fits, fits_not in (
            ("Bob@Example.ORG", ("bob@example.org", "bob+x@example.org"), ("bobby@example.org", "bob@sub.example.org")),
            ("bob+x@example.org", ("bob+X@example.org",), ("bob@example.org", "bob+xy@example.org")),
            ("example.org", ("bob@example.org", "a+b@EXAMPLE.org"), ("bob@sub.example.org", "bob@notexample.org")),
            ("*@*.example.org", ("bob@a.example.org", "bob@a.b.example.org"), ("bob@example.org",)),
            ("*", ("bob@example.org", "", "no address"), ()),
        ):
            for address in fits:
                self.assertTrue(matches(pattern(wanted), address), (wanted, address))
            for address in (*fits_not, *([] if wanted == "*" else [""])):
                self.assertFalse(matches(pattern(wanted), address), (wanted, address))

    def test_not_patterns(self) -> None:
        """
        What is none is refused, by a line that says what one is.
        """
        for text in ("", "@", "a b@c", "*@", "a*@b", "bob", "x" * 400, "a@b\x00", "*@*", "bob+\n@example.org"):
            error = self.assertRaises(ValueError, pattern, text)
            self.assertIn("*@domain", str(error))

    @given(st.text(max_size=40))
    def test_fuzz(self, text: str) -> None:
        """
        Whatever somebody types is a pattern with one spelling, or none.
        """
        try:
            spelled = pattern(text)
        except ValueError:
            return
        self.assertEqual(spelled, pattern(spelled))

    @given(ADDRESSES, st.text(max_size=40))
    def test_any_address(self, wanted: str, address: str) -> None:
        """
        Whatever a message says that its sender is can be asked about.
        """
        self.assertIn(matches(pattern(wanted), address), (True, False))

    def test_first(self) -> None:
        """
        Of those that fit, the one that says most is named.
        """
        patterns = {"*@example.org", "alice@example.org"}
        self.assertEqual("alice@example.org", first_match(["carol@x.org", "alice+a@example.org"], patterns))
        self.assertIsNone(first_match(["carol@x.org"], patterns))


class RuleTests(SynchronousTestCase):
    """
    Tests of rules.
    """

    def test_conditions(self) -> None:
        """
        Each kind of condition holds for what it names, and turned round for the rest.
        """
        for text, holds in (
            ("sender alice+x@example.org", True),
            ("sender alice@example.org", True),
            ("verified alice+x@example.org", False),
            ("verified *@example.org", True),
            ("to bob+shop@example.org", True),
            ("to bob+other@example.org", False),
            ("tag SHOP", True),
            ("tag sho", False),
            ('subject "quarterly report"', True),
            ("subject report", True),
            ("subject reports", False),
            ("size > 19K", True),
            ("size > 20000", False),
            ("size < 20001", True),
            ("SIZE<1G", True),
            ("sender example.org AND size > 1M", False),
        ):
            self.assertEqual(holds, parse(f"ignore if {text}").matches(MESSAGE), text)
            if " AND " not in text:
                self.assertEqual(not holds, parse(f"ignore if not {text}").matches(MESSAGE), text)

    def test_first_wins(self) -> None:
        """
        The first rule that matches decides.
        """
        rules = [parse(line) for line in ("ignore if subject nothing", 'folder "A B/C" if tag shop', "quarantine")]
        verdict = judge(rules, MESSAGE)
        assert verdict is not None
        self.assertEqual((Action.FOLDER, "A B/C"), (verdict.action, verdict.folder))
        self.assertEqual('rule: folder "A B/C" if tag shop', verdict.reason)
        other = judge(rules, replace(MESSAGE, recipient="bob@example.org"))
        assert other is not None
        self.assertEqual(Action.QUARANTINE, other.action)
        self.assertIsNone(judge(rules[:2], replace(MESSAGE, recipient="bob@example.org")))

    def test_refused(self) -> None:
        """
        What is no rule is refused with a line that says what is wrong.
        """
        for line, why in (
            ("", "begins with"),
            ("delete", "'delete'"),
            ('"accept"', "begins with"),
            ("folder", "folder's name"),
            ('folder ""', "folder's name"),
            ("accept unless x", "'unless'"),
            ("accept if", "after the action"),
            ("accept if sender", "a condition is"),
            ("accept if sender a b", "double quotes"),
            ("accept if sender nobody", "'nobody' is no address"),
            ("accept if subject x and", "a condition is"),
            ("accept if and subject x", "a condition is"),
            ('accept if subject "x', "never closed"),
            ('accept if subject ""', "every subject"),
            ("accept if size > 10X", "K, M or G"),
            ("accept if size > -1", "K, M or G"),
            ("accept if size = 1", "a condition is"),
            ("accept if size > 9999999G", "no message"),
            ("accept\tif subject x", "control characters"),
            ("accept if subject x" + " and subject x" * CONDITIONS_LIMIT, "at most"),
            ("accept if subject " + "x" * RULE_LIMIT, "at most"),
        ):
            error = self.assertRaises(BadRule, parse, line)
            self.assertIn(why, str(error), line)
            self.assertNotIn("\n", str(error))

    @given(RULES)
    def test_spelling(self, rule: Rule) -> None:
        """
        What is written down is read back as it was.
        """
        self.assertEqual(rule, parse(render(rule)))

    @given(st.one_of(st.text(max_size=60), st.text(st.sampled_from('acif "\\<>andot+@.K1 '), max_size=60)))
    def test_fuzz(self, line: str) -> None:
        """
        Whatever somebody types is a rule that is written down as one line, or none.
        """
        for text in (line, f"accept if {line}", f"folder {line}"):
            try:
                rule = parse(text)
            except BadRule:
                continue
            self.assertTrue(render(rule).isprintable())
            if len(render(rule)) <= RULE_LIMIT:
                self.assertEqual(rule, parse(render(rule)))
