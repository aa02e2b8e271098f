"""
What is found out around a key.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact, Id
from post.pastry.statement import Statement
from post.pastry.survey import CONTACTS_LIMIT, NAMED_LIMIT, Survey
from tests.pastry.strategies import node


def contact(point: int, epoch: int = 1) -> Contact:
    """
    Of the node at C{point}.
    """
    return Contact(node(point), (), epoch)


def said(point: int, after: tuple[int, ...], before: tuple[int, ...]) -> Statement:
    """
    Of the node at C{point}.
    """
    sides = tuple(map(contact, after)), tuple(map(contact, before))
    return Statement(1, node(point), 1, 0, 0, bytes(16), False, *sides)


class SurveyTests(SynchronousTestCase):
    """
    Tests of L{Survey}.
    """

    def survey(self) -> Survey:
        """
        Around 100, by the node at 5000.
        """
        return Survey(Id(100), contact(5000))

    def test_nearest(self) -> None:
        """
        Whoever named a node, the nearest is first, of two equally near ones the smaller; a second node of the same
        owner, who is to be avoided, and who did not answer are passed over.
        """
        survey = self.survey()
        survey.answered(contact(90), said(90, (95, 110), (80,)))
        survey.name([contact(101), contact(99)])
        self.assertEqual([99, 101, 95], survey.nearest(3, lambda node: node.hex()))
        self.assertEqual([99, 90], survey.nearest(2, lambda node: str(node % 2), {node(95)}))
        survey.failed(contact(99))
        self.assertEqual([101], survey.nearest(1, lambda node: node.hex()))
        self.assertEqual([contact(90)], survey.found(2, lambda node: node.hex()))

    def test_window(self) -> None:
        """
        As many on each side, in their order; a silent one's place is filled by the next.
        """
        survey = self.survey()
        survey.name(map(contact, (70, 80, 90, 110, 120, 130)))
        self.assertEqual([80, 90, 110, 120], survey.window(2))
        self.assertAlmostEqual(40 / 3, survey.step(2))
        survey.failed(contact(110))
        self.assertEqual([80, 90, 120, 130], survey.window(2))

    def test_onward(self) -> None:
        """
        A way goes on at whoever was named and is nearer to the key; it ends at who has the key in its leaf set, at who
        names nobody nearer, and at who did not answer.
        """
        survey = self.survey()
        far = contact(4 << 156)
        survey.answered(far, said(4 << 156, (), ()), [contact(5 << 156), contact(1 << 20)])
        self.assertEqual([node(1 << 20)], survey.onward(far.id))
        survey.failed(contact(1 << 20))
        self.assertEqual([], survey.onward(far.id))
        survey.answered(contact(90), said(90, (110,), (80,)), [contact(99)])
        self.assertEqual([], survey.onward(node(90)))
        self.assertEqual([], survey.onward(node(77)))

    def test_wrong_addresses(self) -> None:
        """
        A node is silent only when it has not answered at any of the addresses named for it, one after the other: nobody
        hides it by naming wrong ones.
        """
        survey = self.survey()
        true = Contact(node(90), ("here:1",))
        false = [Contact(node(90), (f"nowhere{number}:1",), 9) for number in range(3)]
        survey.name([false[0]])
        self.assertEqual(false[0], survey.untried(node(90)))
        survey.failed(false[0])
        self.assertTrue(survey.is_silent(node(90)))
        self.assertIsNone(survey.untried(node(90)))
        survey.name([*false, true])
        for each in (*false[1:], true):
            self.assertFalse(survey.is_silent(node(90)))
            self.assertEqual(each, survey.untried(node(90)))
            survey.failed(each)
        self.assertTrue(survey.is_silent(node(90)))
        survey.answered(true, said(90, (), ()))
        self.assertFalse(survey.is_silent(node(90)))
        self.assertIsNone(survey.untried(node(90)))
        self.assertEqual([true], survey.found(1, lambda node: node.hex()))

    def test_made_up(self) -> None:
        """
        Who has named several that do not answer, and fewer that do, is believed no others, unless somebody else names
        them too; what one of them answers counts.
        """
        survey = self.survey()
        survey.answered(contact(60), said(60, (99, 98, 97, 96, 95, 94), ()))
        survey.answered(contact(50), said(50, (94,), ()))
        for silent in (99, 98, 97):
            survey.failed(contact(silent))
        self.assertEqual([96, 95, 94, 60, 50], survey.around()[:5])
        survey.failed(contact(96))
        self.assertEqual([94, 60, 50], survey.around()[:3])
        survey.answered(contact(95), said(95, (), ()))
        self.assertEqual([95, 94, 60, 50], survey.around()[:4])

    def test_known_before(self) -> None:
        """
        It counts also whom a node names of whom it is known already that they do not answer.
        """
        survey = self.survey()
        dead = (99, 98, 97, 96)
        survey.name(map(contact, dead))
        for silent in dead:
            survey.failed(contact(silent))
        survey.answered(contact(60), said(60, (*dead, 95), ()))
        self.assertEqual([60], survey.around()[:1])

    def test_limit(self) -> None:
        """
        However many are named, no more are kept than one lookup needs.
        """
        survey = self.survey()
        survey.name(contact(each) for each in range(1, NAMED_LIMIT + 100))
        self.assertEqual(NAMED_LIMIT, len(survey.around()))
        survey.name(Contact(node(7), (f"{number}:1",)) for number in range(100))
        tried = 0
        while (each := survey.untried(node(7))) is not None:
            survey.failed(each)
            tried += 1
        self.assertEqual(CONTACTS_LIMIT, tried)
