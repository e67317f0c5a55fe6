"""One message to a webhook or Slack for each run that ends badly.

The sensor notices runs, holds those whose message could not be sent, and tries again. The receiver's URL is a secret
and appears in no text.
"""
