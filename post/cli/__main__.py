"""
C{python -m post.cli}.
"""

from post.cli import main

main(prog_name="post")
