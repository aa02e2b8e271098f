"""
Tests for L{post.front.imap}.
"""
