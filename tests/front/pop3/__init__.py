"""
Tests for L{post.front.pop3}.
"""
