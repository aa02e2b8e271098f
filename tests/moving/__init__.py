"""
Tests for L{post.moving}.
"""
