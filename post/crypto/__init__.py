"""
Keys, sealing, convergent encryption, certificates.  Bytes in, bytes out: no network, no clock; entropy is an argument.
"""
