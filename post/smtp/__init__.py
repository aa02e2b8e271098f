"""
SMTP engines without sockets, shared by submission, MX and relay.
"""
