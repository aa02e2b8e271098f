"""
POP3 (RFC 1939), for mail programs and machines that only fetch.
"""
