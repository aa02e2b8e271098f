"""
Makes C{twistd post} known to twistd.
"""

from twisted.application.service import ServiceMaker

post = ServiceMaker("POST", "post.tap", "A node of POST: serverless, secure messaging", "post")
