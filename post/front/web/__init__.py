"""
The page to look at: how the node and one's own mail are.

C{twisted.web}, pages and pictures made on the server, one style sheet, one small script that keeps what is shown
current; nothing is fetched from elsewhere and nothing has to be built.
"""
